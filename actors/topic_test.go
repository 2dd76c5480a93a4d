package actors

import (
	"errors"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// brittleTopic has partitions of which the second one cannot be opened and the third one panics.
type brittleTopic struct{ dispatcher Dispatcher }

type brittlePartition int32

func (brittleTopic) Name() string                          { return "brittle" }
func (brittleTopic) ID() uint64                            { return 1 }
func (brittleTopic) Partitions() int32                     { return 3 }
func (brittleTopic) Partition(number int32) PartitionShell { return brittlePartition(number) }
func (b brittleTopic) Dispatcher(int32) Dispatcher         { return b.dispatcher }

func (p brittlePartition) Open() error {
	switch p {
	case 1:
		return core.Errorf(core.CodeCorrupt, "open", "no good")
	case 2:
		panic("half way")
	}
	return nil
}

func (p brittlePartition) Describe() leat.PartitionInfo {
	return leat.PartitionInfo{Partition: int32(p), End: 10}
}

func (brittlePartition) Close() error { return nil }

// TestDescribeSaysWhatDidNotOpen: zeros without an error would look like an empty partition.
func TestDescribeSaysWhatDidNotOpen(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	pid, err := SpawnTopic(s, brittleTopic{s.Goroutines()})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() []leat.PartitionInfo {
		infos, err := Call(t.Context(), s, pid, func(r Reply[[]leat.PartitionInfo]) any { return DescribeTopic{r} })
		if err != nil || len(infos) != 3 {
			t.Fatalf("%+v, %v", infos, err)
		}
		return infos
	}
	if err := CallTopicOpen(s, pid); !errors.Is(err, core.ErrCorrupt) || !errors.Is(err, core.ErrHandlerFailed) {
		t.Errorf("open = %v, want both failures", err)
	}
	infos := ask()
	if p := infos[0]; p.Err != nil || p.End != 10 {
		t.Errorf("the partition that works: %+v", p)
	}
	if p := infos[1]; p.Partition != 1 || !errors.Is(p.Err, core.ErrCorrupt) {
		t.Errorf("the partition that did not open: %+v", p)
	}
	if p := infos[2]; p.Partition != 2 || p.Err == nil {
		t.Errorf("the partition whose opening panicked: %+v", p)
	}
}
