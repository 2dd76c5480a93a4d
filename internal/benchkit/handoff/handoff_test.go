package handoff

import (
	"strings"
	"testing"
	"time"
)

// How many messages the tests send: rings wrap, except in a ping-pong, each hop of which may wait for a
// processor on a busy machine.
const (
	messages = Step * 1500
	hops     = Step * 2
)

func TestCases(t *testing.T) {
	scenarios := []string{HopOfWords, HopOfEvents, OneToOneWords, OneToOneEvents, ThreeToOne, OneToThree,
		InPipeline, InDiamond}
	for _, scenario := range scenarios {
		for name, run := range map[string]Case{
			"ring": Ours(scenario), "ring in batches": Ours(scenario + BatchSuffix),
			"parking ring": Ring{}.Case(scenario), "channel": Channel{}.Case(scenario),
		} {
			if run == nil {
				continue
			}
			t.Run(scenario+" "+name, func(t *testing.T) {
				want := int64(messages)
				if strings.HasPrefix(scenario, "hop-") {
					want = hops
				}
				result, err := run(want)
				if err != nil || result.Messages != want || result.Nanos <= 0 {
					t.Errorf("= %+v, %v; want %d messages in some time", result, err, want)
				}
			})
		}
	}
}

func TestLatencies(t *testing.T) {
	scenarios := []string{WakeUp, NextAfterClose, NextAfterCancel, ClaimAfterClose, ClaimAfterCancel}
	for _, scenario := range scenarios {
		for name, run := range map[string]Case{"ring": Ours(scenario), "channel": Channel{}.Case(scenario)} {
			if run == nil {
				continue
			}
			result, err := run(20)
			if err != nil || result.Latency == nil || result.Latency.Count() != 20 || result.Latency.At(0.5) <= 0 {
				t.Errorf("%s, %s = %+v, %v; want 20 latencies", scenario, name, result, err)
			}
		}
	}
}

func TestIdle(t *testing.T) {
	calls := int64(0)
	used := func() (int64, error) { calls++; return calls * 7, nil }
	for name, run := range map[string]func(time.Duration, func() (int64, error)) (int64, error){
		"ring": Ring{}.Idle, "channel": Channel{}.Idle,
	} {
		if got, err := run(time.Millisecond, used); got != 7 || err != nil {
			t.Errorf("%s = %d, %v; want what was used in between, 7", name, got, err)
		}
	}
}

func TestScaleFindsTheLength(t *testing.T) {
	tests := []struct {
		name  string
		nanos func(n int64, runs int) int64
	}{
		{"steady", func(n int64, _ int) int64 { return n * 100 }},
		{"a long start", func(n int64, _ int) int64 { return 1e6 + n*100 }},
		{"a stall in the first run", func(n int64, runs int) int64 { return n*100 + 3e9/int64(runs*runs*runs) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			runs := 0
			s := Timed(Step, func(n int64) (Result, error) {
				if n <= 0 || n%Step != 0 {
					t.Errorf("a run of %d messages; want a multiple of %d", n, Step)
				}
				runs++
				return Result{Messages: n, Nanos: tt.nanos(n, runs)}, nil
			})
			for range 2 {
				result, err := s.Run(time.Second)
				if err != nil || result.Nanos < 5e8 || result.Nanos > 2e9 {
					t.Errorf("Run = %+v, %v; want about a second", result, err)
				}
			}
			before := runs
			if _, err := s.Run(time.Second); err != nil || runs != before+1 {
				t.Errorf("%d runs for a round of known length, %v; want 1", runs-before, err)
			}
		})
	}
}

func TestTallyFindsWhatIsWrong(t *testing.T) {
	event := func(v int64) (e Event) { e.Fill(v); return e }
	torn := event(2)
	torn[7]++
	tests := []struct {
		name string
		run  []Event
		want bool
	}{
		{"all there", []Event{event(0), event(1), event(2)}, true},
		{"one lost", []Event{event(0), event(1)}, false},
		{"one twice", []Event{event(0), event(1), event(1), event(2)}, false},
		{"two swapped", []Event{event(1), event(0), event(2)}, false},
		{"a byte changed", []Event{event(0), event(1), torn}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := (Tally{}).Events(tt.run).Check(3, 8, 0); (err == nil) != tt.want {
				t.Errorf("Check = %v; want it to pass: %v", err, tt.want)
			}
		})
	}
}

func TestSharedTallyFindsWhatIsWrong(t *testing.T) {
	order := func(numbers ...[2]int64) []Event {
		var run []Event
		for _, n := range numbers {
			var e Event
			e.Fill(Numbered(int(n[0]), n[1]))
			run = append(run, e)
		}
		return run
	}
	tests := []struct {
		name string
		run  []Event
		want bool
	}{
		{"in order of each producer", order([2]int64{2, 0}, [2]int64{0, 0}, [2]int64{0, 1},
			[2]int64{1, 0}, [2]int64{2, 1}, [2]int64{1, 1}), true},
		{"one producer out of order", order([2]int64{2, 0}, [2]int64{0, 1}, [2]int64{0, 0},
			[2]int64{1, 0}, [2]int64{2, 1}, [2]int64{1, 1}), false},
		{"one lost", order([2]int64{2, 0}, [2]int64{0, 0}, [2]int64{0, 1}, [2]int64{1, 0},
			[2]int64{2, 1}), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var tally SharedTally
			tally.Events(tt.run)
			if err := tally.Check(6); (err == nil) != tt.want {
				t.Errorf("Check = %v; want it to pass: %v", err, tt.want)
			}
		})
	}
}
