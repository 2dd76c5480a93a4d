package mmaplog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
)

func TestCommitterAppendsDurably(t *testing.T) {
	const appenders, each = 64, 20
	s := openTest(t, Heap(), "data", Options{FlushEvery: time.Hour})
	l := openLog(t, s, core.AckDisk)
	c := NewCommitter(l)
	var mu sync.Mutex
	at := map[int64]string{}
	var group sync.WaitGroup
	for i := range appenders {
		group.Go(func() {
			ctx := t.Context()
			if i%2 == 0 {
				ctx = context.Background()
			}
			for k := range each {
				value := fmt.Sprintf("%d-%d", i, k)
				offset, err := c.Append(ctx, 1, encodeRecord(value), 1)
				if durable := l.DurableEnd(); err != nil || durable <= offset {
					t.Errorf("Append = %d, %v; durable end %d", offset, err, durable)
					return
				}
				mu.Lock()
				at[offset] = value
				mu.Unlock()
			}
		})
	}
	group.Wait()
	got, err := readValues(l)
	if err != nil || len(got) != appenders*each || len(at) != len(got) {
		t.Fatalf("%d records, %d offsets, error %v; want %d", len(got), len(at), err, appenders*each)
	}
	for offset, value := range got {
		if at[int64(offset)] != value {
			t.Errorf("offset %d holds %q, was answered for %q", offset, value, at[int64(offset)])
		}
	}
}

// TestCommitterShares: those that come while the disk is busy share one write and one sync.
func TestCommitterShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := Heap()
		s := openTest(t, fs, "data", Options{FlushEvery: time.Hour})
		l := openLogs(t, s, 1)[0]
		c := NewCommitter(l)
		ops := countSyncs(fs)
		hung, release := fs.HangNextSync()
		errs := make(chan error, 64)
		add := func(ctx context.Context) {
			_, err := c.Append(ctx, 1, encodeRecord("v"), 1)
			errs <- err
		}
		go add(t.Context())
		<-hung
		gone, leave := context.WithCancel(t.Context())
		go add(gone)
		synctest.Wait()
		leave()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("Append whose context ended = %v", err)
		}
		for range 62 {
			go add(t.Context())
		}
		synctest.Wait()
		if len(errs) > 0 {
			t.Error("an Append returned while the disk hangs")
		}
		release()
		for range 63 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n, frames := ops.of("sync"), l.marks.endIndex.Load(); n != 2 || frames != 3 || l.DurableEnd() != 65 {
			t.Errorf("%d syncs, %d frames, durable end %d; want 2, 3 and 65", n, frames, l.DurableEnd())
		}
	})
}

// TestCommitterPassesTheLead: a group whose appenders have all gone is done by who comes next.
func TestCommitterPassesTheLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := Heap()
		s := openTest(t, fs, "data", Options{FlushEvery: time.Hour})
		l := openLogs(t, s, 1)[0]
		c := NewCommitter(l)
		hung, release := fs.HangNextSync()
		errs := make(chan error, 2)
		ctx, leave := context.WithCancel(t.Context())
		go func() {
			_, err := c.Append(context.Background(), 1, encodeRecord("a"), 1)
			errs <- err
		}()
		<-hung
		go func() {
			_, err := c.Append(ctx, 1, encodeRecord("b"), 1)
			errs <- err
		}()
		synctest.Wait()
		leave()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("Append whose context ended = %v", err)
		}
		release()
		if err := <-errs; err != nil {
			t.Error(err)
		}
		if offset, err := c.Append(t.Context(), 1, encodeRecord("c"), 1); offset != 3 || err != nil {
			t.Errorf("Append = %d, %v; want 3", offset, err)
		}
		wantValues(t, l, "first", "a", "b", "c")
	})
}

func TestCommitterErrors(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{FlushEvery: time.Hour})
	l := openLogs(t, s, 1)[0]
	c := NewCommitter(l)
	add := func() error {
		_, err := c.Append(t.Context(), 1, encodeRecord("v"), 1)
		return err
	}
	_, err := c.Append(t.Context(), 1, []byte("no record"), 1)
	wantCode(t, "a bad record", err, core.CodeInvalidRecord)
	fs.FailWrites(syscall.ENOSPC)
	wantCode(t, "a full disk", add(), core.CodeStorageFull)
	fs.FailWrites(nil)
	if err := add(); err != nil || l.DurableEnd() != 2 {
		t.Errorf("Append after the disk was full = %v, durable end %d", err, l.DurableEnd())
	}
	fs.FailNextSync(syscall.EIO)
	wantCode(t, "a failed sync", add(), core.CodeLogFenced)
	wantCode(t, "after it", add(), core.CodeLogFenced)
}
