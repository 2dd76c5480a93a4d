package httpexamples_test

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/leatbus/leat"
	httpdoor "github.com/leatbus/leat/gateway/http"
	"github.com/leatbus/leat/leattest"
)

// want is what each program prints.
const want = `published at 0:0
published 3 more, 0 failed
read hello
read one
read two
read three
followed hello
followed one
connection dropped at 0:2
followed two
followed three
pulled hello
pulled one
pulled two
pulled three
acked 3
pulled hello, attempt 2
acked 1
`

// TestPrograms runs each program against a topic of its own, where its language is present.
func TestPrograms(t *testing.T) {
	bus := leattest.New(t, leattest.WithTopic("curl", leat.TopicConfig{}),
		leattest.WithTopic("python", leat.TopicConfig{}), leattest.WithTopic("node", leat.TopicConfig{}))
	door, err := httpdoor.Open(bus, httpdoor.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	url := "http://" + door.Addr().String()
	for _, p := range []struct {
		topic, needs string
		command      []string
	}{
		{"curl", "curl", []string{"sh", "curl.sh"}},
		{"python", "python3", []string{"python3", "python/bus.py"}},
		{"node", "node", []string{"node", "node/bus.mjs"}},
	} {
		t.Run(p.topic, func(t *testing.T) {
			if _, err := exec.LookPath(p.needs); err != nil {
				t.Skipf("there is no %s", p.needs)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, p.command[0], append(p.command[1:], url, p.topic)...)
			cmd.WaitDelay = 5 * time.Second
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != want {
				t.Errorf("%v: %v\n%s\nwant\n%s", cmd, err, out, want)
			}
		})
	}
}
