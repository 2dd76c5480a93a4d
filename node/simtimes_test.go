package node

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
)

// TestSimTimes holds the client and the server to the times that they promise, in virtual time, over lines of
// several lengths: publishes fail once a node cannot be reached for long, the client is back soon after the
// line is, and a member that vanishes leaves its group.
func TestSimTimes(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	for _, latency := range []time.Duration{200e3, 5e6, 40e6} {
		t.Run(fmt.Sprint(latency), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { checkSimTimes(t, latency) })
		})
	}
}

func checkSimTimes(t *testing.T, latency time.Duration) {
	network := newSimNetwork(uint64(latency))
	network.latency = latency
	s := newSimServer(t, network, WithTopic("t", leat.TopicConfig{Ack: leat.AckPage}))
	bus := s.dial(2)
	p := openProducer(t, bus, "t")
	publish(t, p, text("before"))
	for cut := range 4 {
		network.setCut(true)
		began := time.Now()
		_, err := p.Publish(soon(t), text("during"))
		if took := time.Since(began); !unavailable(err) || took < unreachableAfter || took > 2600*time.Millisecond {
			t.Errorf("cut %d: a publish failed after %v, want 1.8 s to 2.6 s: %v", cut, took, err)
		}
		pass(time.Duration(cut) * 5 * time.Second)
		network.setCut(false)
		began = time.Now()
		for err != nil {
			pass(10 * time.Millisecond)
			_, err = p.Publish(soon(t), text("after"))
		}
		if took := time.Since(began); took > backWithin {
			t.Errorf("cut %d: back %v after it was healed, want at most %v", cut, took, backWithin)
		}
		pass(2 * time.Second)
	}
	sub, err := bus.Subscribe("t", leat.Group("g"))
	if err != nil {
		t.Fatal(err)
	}
	for quiet := range 4 {
		for len(membersOf(t, s)) == 0 {
			pass(10 * time.Millisecond)
		}
		pass(time.Duration(quiet) * 1300 * time.Millisecond)
		network.setCut(true)
		began := time.Now()
		for len(membersOf(t, s)) > 0 {
			pass(10 * time.Millisecond)
		}
		if took := time.Since(began); took < 5*time.Second || took > 10500*time.Millisecond {
			t.Errorf("a member was gone %v after its line was cut, want at most its session of 10 s", took)
		}
		network.setCut(false)
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	if err := bus.Close(); err != nil {
		t.Error(err)
	}
	s.stop()
}

// membersOf gives the members of the one group.
func membersOf(t *testing.T, s *simServer) []string {
	t.Helper()
	infos, err := s.now().Groups(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(infos) == 0 {
		return nil
	}
	return infos[0].Members
}

// TestSimShortCuts: a line that is cut for less than 1.8 s makes no publish fail, whenever it begins.
func TestSimShortCuts(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		network := newSimNetwork(1)
		network.latency = 10 * time.Millisecond
		s := newSimServer(t, network, WithTopic("t", leat.TopicConfig{Ack: leat.AckPage}))
		bus := s.dial(2)
		p := openProducer(t, bus, "t")
		for cut := 100 * time.Millisecond; cut < unreachableAfter; cut += 100 * time.Millisecond {
			network.setCut(true)
			heal := time.AfterFunc(cut, func() { network.setCut(false) })
			began := time.Now()
			if _, err := p.Publish(soon(t), text("during")); err != nil {
				t.Errorf("a cut of %v: %v after %v", cut, err, time.Since(began))
			}
			heal.Stop()
			network.setCut(false)
			pass(3 * time.Second)
			publish(t, p, text("after"))
		}
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
		s.stop()
	})
}
