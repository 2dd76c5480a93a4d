package ring

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/leatbus/leat/internal/benchkit/handoff"
)

// Work measures what the arguments PEER SCENARIO MILLISECONDS say and prints the sample: it is all of
// the command worker.
func Work(arguments []string, out io.Writer) error {
	if len(arguments) != 3 {
		return fmt.Errorf("%d arguments: want PEER SCENARIO MILLISECONDS", len(arguments))
	}
	peer, scenario := arguments[0], arguments[1]
	milliseconds, err := strconv.Atoi(arguments[2])
	if err != nil || milliseconds < 1 {
		return fmt.Errorf("%q: want a number of milliseconds", arguments[2])
	}
	length := time.Duration(milliseconds) * time.Millisecond
	run := goPeer(peer, scenario)
	if run == nil {
		return fmt.Errorf("%s has no scenario %s", peer, scenario)
	}
	result, err := handoff.Timed(handoff.Step, run).Run(length)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(map[string]any{"ops": result.Messages, "rate": result.PerSecond(),
		"latency_us": result.Latency, "allocs_per_op": result.AllocsPerMessage()})
}
