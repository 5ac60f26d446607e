"""Services on the swarm: described, deployed, watched; and the two that the workbook ships."""
