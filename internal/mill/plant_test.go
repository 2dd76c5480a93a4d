package mill

import (
	"slices"
	"testing"

	"github.com/leatbus/leat/core"
)

// plant is a defect of the shell, which the oracle has to find.
type plant int

const (
	sound             plant = iota
	progressFirst           // failures are stored behind the progress that leaves them out
	progressEmpty           // progress without what is not settled
	progressSkipped         // progress is not stored now and then, and told as if
	epochIgnored            // answers count for whoever has the record now
	wallClock               // leases and delays go by the wall clock
	keysMixed               // some records are taken for those of another key
	delaysShort             // delays are in the wrong unit
	dueForgotten            // a restart forgets delays
	storesNotAwaited        // what failed is delivered again before that is stored
	erasedFirst             // attempts of what is settled go before that is stored
	buriedFirst             // a dead letter counts before it is stored
	rateForgotten           // a restart forgets the rate
	windowWide              // members get more than they take
	oneLock                 // all keys are one
	failuresNotKept         // a snapshot forgets what failed
	trimmedFirst            // the beginning of __groups goes before the snapshot is stored
	ackBeforeHandling       // records are settled when they are handed out
	readableEarly           // records are handed out before they are stored
	offerWide               // pulls are offered more than they want
	filterShifted           // a filter is taken for that of the record before
)

// planted is each defect, and as what it may be found.
var planted = []struct {
	plant plant
	name  string
	kinds []string
	seeds uint64             // within so many
	needs func(p *plan) bool // of seeds; nil for any
}{
	{progressFirst, "progress first", []string{"lost", "attempts"}, 100, nil},
	{progressEmpty, "progress empty", []string{"lost"}, 100, nil},
	{progressSkipped, "progress skipped", []string{"settled twice"}, 100, crashes},
	{epochIgnored, "epoch ignored", []string{"zombie"}, 100, nil},
	{wallClock, "wall clock", []string{"lease", "early"}, 100, nil},
	{keysMixed, "keys mixed", []string{"order"}, 100, nil},
	{delaysShort, "delays short", []string{"early"}, 100, nil},
	{dueForgotten, "due forgotten", []string{"early"}, 100, nil},
	{storesNotAwaited, "stores not awaited", []string{"attempts", "conservation"}, 400, slowly},
	{erasedFirst, "erased first", []string{"attempts", "conservation"}, 400, slowly},
	{buriedFirst, "buried first", []string{"conservation"}, 100, nil},
	{rateForgotten, "rate forgotten", []string{"rate"}, 100, nil},
	{windowWide, "window wide", []string{"window"}, 100, nil},
	{oneLock, "one lock", []string{"starved"}, 100, stuck},
	{failuresNotKept, "failures not kept", []string{"lost"}, 100, nil},
	{trimmedFirst, "trimmed first", []string{"lost"}, 100, cutShort},
	{ackBeforeHandling, "ack before handling", []string{"unsaid"}, 100, nil},
	{readableEarly, "readable early", []string{"unreadable"}, 100, nil},
	{offerWide, "offer wide", []string{"window"}, 100, nil},
	{filterShifted, "filter shifted", []string{"left out", "lost", "settled twice"}, 100, nil},
}

func crashes(p *plan) bool { return p.has(powerCuts) && p.level == core.AckDisk }

func cutShort(p *plan) bool { return crashes(p) && p.has(snapshots) }

func slowly(p *plan) bool { return crashes(p) && p.has(slowDisk) }

// stuck is a key-shared group with a key that fails for ever.
func stuck(p *plan) bool {
	cfg := &p.groups[0].cfg
	return cfg.Ordered && cfg.MaxAttempts < 0 && p.has(poison)
}

// TestMillFindsPlantedDefects: each defect is found within few seeds, and is called what it is.
func TestMillFindsPlantedDefects(t *testing.T) {
	for _, tt := range planted {
		t.Run(tt.name, func(t *testing.T) {
			for seed := uint64(1); seed <= tt.seeds; seed++ {
				p := newPlan(seed)
				if p.plant = tt.plant; tt.needs != nil && !tt.needs(&p) {
					continue
				}
				err, w := runSeed(t, p, nil)
				if err == nil {
					continue
				}
				if f := err.(*finding); !slices.Contains(tt.kinds, f.kind) {
					t.Errorf("LEAT_SEED=%d: found as %v, want one of %v", seed, f, tt.kinds)
				}
				t.Logf("LEAT_SEED=%d, event %d: %v", seed, w.done, err)
				return
			}
			t.Errorf("not found in %d seeds", tt.seeds)
		})
	}
}
