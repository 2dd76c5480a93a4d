package benchkit

import (
	"strings"
	"testing"

	"github.com/leatbus/leat/internal/clock"
)

func TestInstruments(t *testing.T) {
	got := measureInstruments(clock.System)
	t.Logf("%+v", *got)
	if got.ClockNanos <= 0 || got.RecordNanos <= 0 || got.LateP50 <= 0 || got.LateP99 < got.LateP50 {
		t.Errorf("instruments %+v; want costs above 0", got)
	}
	bad := &Instruments{RecordNanos: recordNanosMax + 1, LateP99: lateMicrosMax + 1}
	if notes := strings.Join(bad.notes(), "; "); !strings.Contains(notes, "recording") ||
		!strings.Contains(notes, "pacing") {
		t.Errorf("notes %q; want both", notes)
	}
	if notes := (&Instruments{}).notes(); len(notes) != 0 {
		t.Errorf("notes %q of good instruments", notes)
	}
}
