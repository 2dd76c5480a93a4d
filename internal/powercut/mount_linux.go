package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leatbus/leat/internal/clock"
)

const (
	busyTries = 400
	busyPause = 5 * time.Millisecond
)

// retryBusy tries again while a device or a mount is in use: both are let go of a little after their users
// end.
func retryBusy(call func() error) error {
	err := call()
	for i := 0; i < busyTries && errors.Is(err, unix.EBUSY); i++ {
		timer := clock.System.NewTimer(busyPause)
		<-timer.C()
		err = call()
	}
	return err
}

// attachLoop makes a loop device of a file. It goes when it is neither open nor mounted any more.
func attachLoop(file *os.File, sector int) (device *os.File, err error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	err = retryBusy(func() error {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return err
		}
		device, err = os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		config := unix.LoopConfig{Fd: uint32(file.Fd()), Size: uint32(sector)}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		if err := unix.IoctlLoopConfigure(int(device.Fd()), &config); err != nil {
			return errors.Join(err, device.Close())
		}
		return nil
	})
	return device, err
}

func unmount(dir string) error {
	if err := retryBusy(func() error { return unix.Unmount(dir, 0) }); err != nil {
		return fmt.Errorf("unmount: %w", err)
	}
	return nil
}

// imageFile is a file in memory that holds the image of one cut after the other.
type imageFile struct{ file *os.File }

func newImageFile() (*imageFile, error) {
	fd, err := unix.MemfdCreate("powercut", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &imageFile{os.NewFile(uintptr(fd), "image")}, nil
}

func (f *imageFile) set(image []byte) error {
	_, err := f.file.WriteAt(image, 0)
	return err
}

// obstacle tells why this machine cannot run the rig with a file system, or is empty.
func obstacle(fs *fileSystem) string {
	if os.Geteuid() != 0 {
		return "mounting needs root"
	}
	for _, path := range []string{"/dev/fuse", "/dev/loop-control"} {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err.Error()
		}
		_ = f.Close()
	}
	return fs.obstacle()
}
