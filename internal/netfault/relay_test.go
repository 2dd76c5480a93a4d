package netfault

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

func socket(t *testing.T) *net.UDPConn {
	t.Helper()
	conn, err := loopback()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// rig is a relay between a client and a target.
type rig struct {
	t      *testing.T
	relay  *Relay
	target *net.UDPConn
	client *net.UDPConn
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	target := socket(t)
	relay, err := New(target.LocalAddr().String(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	addr, _ := net.ResolveUDPAddr("udp", relay.Addr())
	client, err := net.DialUDP("udp", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return &rig{t, relay, target, client}
}

// send sends the numbers [from, to), one at a time: the next only when the relay has decided on the last.
func (r *rig) send(from, to int) {
	r.t.Helper()
	for i := from; i < to; i++ {
		if _, err := r.client.Write(binary.LittleEndian.AppendUint32(nil, uint32(i))); err != nil {
			r.t.Fatal(err)
		}
		r.waitFor("a decision", func() bool {
			r.relay.toTarget.mu.Lock()
			defer r.relay.toTarget.mu.Unlock()
			return r.relay.toTarget.number+r.relay.toTarget.counts.Cut == i+1
		})
	}
}

func (r *rig) waitFor(what string, done func() bool) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(end) {
			r.t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// receive reads n numbers.
func receive(t *testing.T, from *net.UDPConn, n int) (got []int, last *net.UDPAddr) {
	t.Helper()
	buf := make([]byte, 100)
	_ = from.SetReadDeadline(time.Now().Add(20 * time.Second))
	for len(got) < n {
		size, addr, err := from.ReadFromUDP(buf)
		if err != nil || size != 4 {
			t.Fatalf("a packet of %d bytes, %v, after %d of %d", size, err, len(got), n)
		}
		got, last = append(got, int(binary.LittleEndian.Uint32(buf))), addr
	}
	return got, last
}

// nothing checks that no packet waits.
func nothing(t *testing.T, from *net.UDPConn) {
	t.Helper()
	_ = from.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := from.Read(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a packet of %d bytes, %v; want none", n, err)
	}
}

func TestRelayWithoutFaults(t *testing.T) {
	r := newRig(t, Options{})
	r.send(0, 100)
	got, client := receive(t, r.target, 100)
	for i, n := range got {
		if n != i {
			t.Fatalf("packet %d is number %d", i, n)
		}
	}
	if _, err := r.target.WriteToUDP([]byte{7, 0, 0, 0}, client); err != nil {
		t.Fatal(err)
	}
	if back, _ := receive(t, r.client, 1); back[0] != 7 {
		t.Errorf("the answer is %d, want 7", back[0])
	}
	there, here := r.relay.Counts()
	if there != (Counts{Delivered: 100}) || here != (Counts{Delivered: 1}) {
		t.Errorf("counts %+v and %+v", there, here)
	}
}

// TestFaultsFire: each fault happens about as often as asked for, and shows in what arrives.
func TestFaultsFire(t *testing.T) {
	const packets = 160 // fewer than the buffer of any socket holds
	tests := []struct {
		name   string
		faults Faults
		check  func(t *testing.T, c Counts, got []int)
	}{
		{"loss", Faults{Loss: 0.25}, func(t *testing.T, c Counts, got []int) {
			if c.Lost < 20 || c.Lost > 60 || len(got) != packets-c.Lost || !slices.IsSorted(got) {
				t.Errorf("%d arrived, %+v", len(got), c)
			}
		}},
		{"duplication", Faults{Duplicate: 0.25}, func(t *testing.T, c Counts, got []int) {
			distinct := len(slices.Compact(slices.Clone(got)))
			if c.Duplicated < 20 || c.Duplicated > 60 || len(got) != packets+c.Duplicated || distinct != packets {
				t.Errorf("%d arrived, %d of them distinct, %+v", len(got), distinct, c)
			}
		}},
		{"delay", Faults{Delay: 5 * time.Millisecond}, func(t *testing.T, c Counts, got []int) {
			if c.Delayed != packets || c.Reordered != 0 || len(got) != packets || !slices.IsSorted(got) {
				t.Errorf("%d arrived, %+v", len(got), c)
			}
		}},
		{"jitter", Faults{Jitter: 5 * time.Millisecond}, func(t *testing.T, c Counts, got []int) {
			sorted := slices.Sorted(slices.Values(got))
			if c.Reordered == 0 || len(slices.Compact(sorted)) != packets || slices.IsSorted(got) {
				t.Errorf("%d arrived, in order: %v, %+v", len(got), slices.IsSorted(got), c)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, Options{Seed: 1, ToTarget: tt.faults})
			r.send(0, packets)
			there, _ := r.relay.Counts()
			got, _ := receive(t, r.target, packets-there.Lost+there.Duplicated)
			there, _ = r.relay.Counts()
			tt.check(t, there, got)
			nothing(t, r.target)
		})
	}
}

// TestSeedsRepeat: the same seed loses the same packets, whatever the other faults are.
func TestSeedsRepeat(t *testing.T) {
	run := func(seed uint64, faults Faults) []int {
		r := newRig(t, Options{Seed: seed, ToTarget: faults})
		r.send(0, 150)
		there, _ := r.relay.Counts()
		got, _ := receive(t, r.target, 150-there.Lost+there.Duplicated)
		slices.Sort(got)
		return slices.Compact(got)
	}
	first := run(7, Faults{Loss: 0.3})
	if !slices.Equal(run(7, Faults{Loss: 0.3}), first) {
		t.Error("LEAT_SEED=7: two runs lose different packets")
	}
	if !slices.Equal(run(7, Faults{Loss: 0.3, Duplicate: 0.5, Jitter: time.Millisecond}), first) {
		t.Error("LEAT_SEED=7: other faults change what is lost")
	}
	if slices.Equal(run(8, Faults{Loss: 0.3}), first) {
		t.Error("another seed loses the same packets")
	}
}

func TestCutAndHeal(t *testing.T) {
	manual := clock.NewManual(0)
	r := newRig(t, Options{ToTarget: Faults{Delay: time.Second}, Clock: manual})
	r.send(0, 3)
	r.relay.Cut()
	r.waitFor("three dropped", func() bool { // what waits is dropped as well
		manual.Advance(2 * time.Second) // again if a packet began to wait after the last
		there, _ := r.relay.Counts()
		return there.Cut == 3
	})
	r.relay.SetFaults(Faults{}, Faults{})
	if _, err := r.client.Write([]byte{9, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	r.waitFor("the fourth dropped", func() bool { there, _ := r.relay.Counts(); return there.Cut == 4 })
	r.relay.Heal()
	if _, err := r.client.Write([]byte{10, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	got, client := receive(t, r.target, 1)
	if got[0] != 10 {
		t.Errorf("number %d arrived after Heal, want 10", got[0])
	}
	r.relay.Cut()
	if _, err := r.target.WriteToUDP([]byte{11, 0, 0, 0}, client); err != nil {
		t.Fatal(err)
	}
	r.waitFor("the answer dropped", func() bool { _, here := r.relay.Counts(); return here.Cut == 1 })
}

func TestRetarget(t *testing.T) {
	r := newRig(t, Options{})
	r.send(0, 1)
	_, client := receive(t, r.target, 1)
	second := socket(t)
	if err := r.relay.Retarget(second.LocalAddr().String()); err != nil {
		t.Fatal(err)
	}
	r.send(1, 2)
	if got, _ := receive(t, second, 1); got[0] != 1 {
		t.Errorf("the new target got %d, want 1", got[0])
	}
	if _, err := r.target.WriteToUDP([]byte{1, 0, 0, 0}, client); err != nil {
		t.Fatal(err)
	}
	nothing(t, r.client)
	nothing(t, r.target)
	if err := r.relay.Retarget("nonsense"); err == nil {
		t.Error("Retarget to nonsense succeeded")
	}
	if _, err := New("nonsense", Options{}); err == nil {
		t.Error("New to nonsense succeeded")
	}
}

func TestClientsAreToldApart(t *testing.T) {
	r := newRig(t, Options{})
	addr, _ := net.ResolveUDPAddr("udp", r.relay.Addr())
	other, err := net.DialUDP("udp", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	for number, client := range []*net.UDPConn{r.client, other} {
		if _, err = client.Write([]byte{byte(number), 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		_, from := receive(t, r.target, 1)
		if _, err = r.target.WriteToUDP([]byte{byte(number + 10), 0, 0, 0}, from); err != nil {
			t.Fatal(err)
		}
		if got, _ := receive(t, client, 1); got[0] != number+10 {
			t.Errorf("client %d got the answer %d", number, got[0])
		}
	}
}

func TestWaitingIsBounded(t *testing.T) {
	l := newDelayLine(clock.NewManual(0), 2)
	for i, want := range []bool{true, true, false} {
		if got := l.add(time.Second, func() {}); got != want {
			t.Errorf("call %d: %v, want %v", i, got, want)
		}
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	r := newRig(t, Options{ToTarget: Faults{Delay: time.Hour}})
	r.send(0, 5)
	if runtime.NumGoroutine() <= before {
		t.Fatal("the relay has no goroutine")
	}
	r.relay.Close()
	r.relay.Close()
	r.waitFor("the end of every goroutine", func() bool { return runtime.NumGoroutine() <= before })
}
