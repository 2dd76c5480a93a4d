// Command powercut cuts the power of a real kernel, many times, and checks that a log keeps what it promised.
//
//	writer (a child) ──▶ ext4 ──▶ loop device ──▶ file "disk" of a FUSE server in this process
//	     │ journal, elsewhere                         │ every block that is written, every flush, in order
//	     └───────────────▶ witness ──▶ verify ◀── ext4 on an image of what a cut leaves
//
// An image of a cut has every write before the last flush, and of each later one all, nothing or some of
// its sectors. So it is a state in which the device may be after a power cut, while the file system and all
// above it are the real ones. Cuts are aimed at the failpoints of the log, or fall anywhere.
//
// Instead of ext4 it may be btrfs or XFS with reflinks, which write elsewhere what they overwrite.
//
// The same server gives the tests a small file system in memory, on which any operation can fail: TestStorm.
//
// It needs Linux, root, /dev/fuse, a free loop device and the mkfs of the file system; where one is missing
// it says so.
//
// Invariants: what the journal said was durable when a write arrived is there in every cut behind it; what
// is there is a prefix of what was being written, each record as it was written last.
//
// Ownership: a rig owns its server, its loop devices, its mounts and its writer, and takes all down.
// Failure behaviour: a finding names seed, run and cut. -seed repeats the choices of the rig and the writer,
// though not the timing of the machine.
package main
