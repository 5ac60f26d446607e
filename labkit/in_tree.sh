#!/bin/sh
# in_tree.sh WORK TREE [--bind FROM INSIDE | --bind-ro FROM INSIDE | --file INSIDE TEXT | --hostname NAME | --wait]... -- COMMAND...
#
# Run COMMAND in a root laid over TREE, in the mount namespace this is called in. What COMMAND writes goes to memory,
# except below the folders bound in; below those of --bind-ro it cannot write. --wait reads a line from standard input before COMMAND starts.
set -eu
work=$1 tree=$2
shift 2

mkdir -p "$work"
mount -t tmpfs -o mode=755 tmpfs "$work"
cd "$work" # relative names from here: overlayfs takes colons and commas in paths for its own
mkdir upper work root
ln -s "$tree" lower
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work root
mount -t proc proc root/proc
mount --rbind /dev root/dev
mount -t tmpfs -o mode=755 tmpfs root/run
# A fresh sysfs belongs to the network namespace it is mounted in; the control groups are the host's.
mount -t sysfs sysfs root/sys
mount --rbind /sys/fs/cgroup root/sys/fs/cgroup

while [ "$1" != -- ]; do
    case $1 in
    --bind | --bind-ro)
        mkdir -p "$2" "root$3"
        mount --bind "$2" "root$3"
        [ "$1" = --bind ] || mount -o remount,bind,ro "root$3"
        shift 3
        ;;
    --file)
        mkdir -p "root${2%/*}"
        printf '%s' "$3" >"root$2"
        shift 3
        ;;
    --hostname)
        hostname "$2"
        shift 2
        ;;
    --wait)
        read -r _
        shift
        ;;
    esac
done
shift
# Not chroot(1): a container runtime below would find the way out of it, to the root of this machine.
cd root
mkdir -p oldroot
pivot_root . oldroot
umount -l oldroot
rmdir oldroot
exec "$@"
