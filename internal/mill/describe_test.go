package mill

import (
	"fmt"
	"strings"

	"github.com/leatbus/leat/core"
)

var inputNames = []string{"?", "readable", "keys", "join", "leave", "lost", "ack", "nack", "reject",
	"extend", "buried", "bury failed", "trimmed", "tick", "absent"}

var effectNames = []string{"?", "deliver", "read", "bury", "stale", "store", "erase"}

func nameIn(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprint(i)
}

func inputName(in *core.QueueInput) string { return nameIn(inputNames, int(in.Kind)) }

// describe tells a step in one line.
func describe(in *core.QueueInput, effects []core.QueueEffect) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", inputName(in))
	if in.Member != 0 {
		fmt.Fprintf(&b, " member %d", in.Member)
	}
	if in.Grant != (core.QueueGrant{}) {
		fmt.Fprintf(&b, " %s", describeGrant(in.Grant))
	}
	fmt.Fprintf(&b, " max %d offset %d delay %d keys %d", in.Max, in.Offset, in.Delay, len(in.Keys))
	for i := range effects {
		e := &effects[i]
		fmt.Fprintf(&b, "\n%30s %s", "→", nameIn(effectNames, int(e.Kind)))
		if e.Member != 0 {
			fmt.Fprintf(&b, " member %d", e.Member)
		}
		if e.Grant != (core.QueueGrant{}) {
			fmt.Fprintf(&b, " %s", describeGrant(e.Grant))
		}
		fmt.Fprintf(&b, " offset %d attempt %d count %d due %d code %v", e.Offset, e.Attempt, e.Count, e.Due,
			e.Code)
	}
	return b.String()
}

func describeGrant(g core.QueueGrant) string {
	return fmt.Sprintf("%d+%b epoch %d slot %d", g.Lo, g.Left, g.Epoch, g.Slot)
}
