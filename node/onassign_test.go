package node

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
)

// diary is what one member was told and read, in order: "+[0 1] -[]", "0/5".
type diary struct {
	mu    sync.Mutex // guards the following
	lines []string
}

func (d *diary) write(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

// told keeps the calls of OnAssign; its slices are reused.
func (d *diary) told(assigned, revoked []int32) {
	slices.Sort(assigned)
	slices.Sort(revoked)
	d.write(fmt.Sprint("+", assigned, " -", revoked))
}

func (b *bed) keepDiary(handle func(*leat.Message)) (*diary, *reader) {
	b.t.Helper()
	d := &diary{}
	r := b.read(b.subscribe("t", leat.Group("g"), leat.OnAssign(d.told)), func(m *leat.Message) {
		d.write(fmt.Sprint(m.Partition, "/", m.Offset))
		handle(m)
	})
	return d, r
}

// TestOnAssign hands a partition over while a message of it is being handled, and back.
func TestOnAssign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
		b.fill(1)
		let := make(chan struct{})
		first, _ := b.keepDiary(func(m *leat.Message) {
			if m.Offset == 1 {
				<-let
			}
			ack(t)(m)
		})
		pass(time.Second)
		got := slices.Clone(first.read())
		begin := len(got)
		slices.Sort(got)
		// A loop that is awake may hear of one partition before it hears of the other.
		if !slices.Equal(got, []string{"+[0 1] -[]", "0/0", "1/0"}) &&
			!slices.Equal(got, []string{"+[0] -[]", "+[1] -[]", "0/0", "1/0"}) {
			t.Fatalf("the first member: %v", got)
		}
		b.fill(1)
		pass(time.Second) // the first holds a message now
		second, r := b.keepDiary(ack(t))
		pass(time.Second)
		close(let)
		pass(time.Second)
		moved := checkHandover(t, first.read()[begin:], second.read())
		if err := r.sub.Close(); err != nil {
			t.Error(err)
		}
		pass(time.Second)
		got = first.read()
		if want := fmt.Sprintf("+[%d] -[]", moved); got[len(got)-1] != want {
			t.Errorf("after the second left the first was told %v, want %s", got, want)
		}
		for _, line := range second.read() {
			if line == fmt.Sprintf("+[] -[%d]", moved) {
				t.Errorf("the member that closed was told: %v", second.read())
			}
		}
	})
}

// checkHandover finds the partition that moved from one to the other: the first was told after it had read
// what it was given, the second before it read anything.
func checkHandover(t *testing.T, first, second []string) (moved int) {
	t.Helper()
	if _, err := fmt.Sscanf(second[0], "+[%d] -[]", &moved); err != nil {
		t.Fatalf("the second member: %v", second)
	}
	at := slices.Index(first, fmt.Sprintf("+[] -[%d]", moved))
	if at < 1 {
		t.Fatalf("the first member: %v, the second: %v", first, second)
	}
	seen := 0
	for i, line := range append(slices.Clone(first), second...) {
		var partition, offset int
		if n, _ := fmt.Sscanf(line, "%d/%d", &partition, &offset); n == 2 {
			seen++
			if partition == moved && i > at && i < len(first) {
				t.Errorf("the first member read %s after the partition was gone: %v", line, first)
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d messages were read, want 2: %v, %v", seen, first, second)
	}
	return moved
}

// TestOnAssignEndsWithClose: Close waits for a call that runs, none comes after it, and what nobody was
// told of is not taken back either.
func TestOnAssignEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage})
		calls, let := make(chan string, 10), make(chan struct{})
		sub := b.subscribe("t", leat.Group("g"), leat.OnAssign(func(assigned, revoked []int32) {
			calls <- fmt.Sprint("+", assigned, " -", revoked)
			<-let
		}))
		ended := loop(soon(t), sub)
		if got := <-calls; got != "+[0] -[]" {
			t.Errorf("told %s", got)
		}
		closed := make(chan error, 1)
		go func() { closed <- sub.Close() }()
		pass(time.Second)
		select {
		case err := <-closed:
			t.Errorf("Close = %v while OnAssign runs", err)
		default:
		}
		close(let)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		unread := b.subscribe("t", leat.Group("g"), leat.OnAssign(func(assigned, revoked []int32) {
			calls <- fmt.Sprint("+", assigned, " -", revoked)
		}))
		b.settled(1) // assigned, but there is no loop
		if err := unread.Close(); err != nil {
			t.Error(err)
		}
		if err := <-loop(soon(t), unread); err != nil {
			t.Error(err)
		}
		if len(calls) > 0 {
			t.Errorf("told %s after Close", <-calls)
		}
	})
}

// TestOnAssignOfPassingPartitions: a partition that came and went while there was no loop was never there.
func TestOnAssignOfPassingPartitions(t *testing.T) {
	var told []string
	call := func(assigned, revoked []int32) { told = append(told, fmt.Sprint("+", assigned, " -", revoked)) }
	news, s := newAssignmentNews(call), &subscription{}
	cursors := []*cursor{{part: &partition{number: 0}}, {part: &partition{number: 1}}}
	news.given(cursors[0])
	news.given(cursors[1])
	news.taken(cursors[0])
	news.tell(s)
	news.tell(s)
	news.taken(cursors[1])
	news.given(&cursor{part: cursors[1].part})
	news.tell(s)
	if want := []string{"+[1] -[]", "+[1] -[1]"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}
