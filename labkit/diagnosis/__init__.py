"""What is wrong, and what to do about it: the doctor, the rehearsal, why a blade waits, hints."""
