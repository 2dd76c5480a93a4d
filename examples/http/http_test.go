package httpexamples_test

import (
	"bytes"
	"context"
	"os"
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
		topic, needs   string
		probe, command []string
	}{
		{"curl", "sh and curl", []string{"sh", "-c", "curl --version"}, []string{"sh", "curl.sh"}},
		{"python", "Python 3.8", []string{"python3", "-c", "import sys; sys.exit(sys.version_info < (3, 8))"},
			[]string{"python3", "python/bus.py"}},
		{"node", "Node.js with fetch", []string{"node", "-e", "process.exit(typeof fetch === 'function' ? 0 : 1)"},
			[]string{"node", "node/bus.mjs"}},
	} {
		t.Run(p.topic, func(t *testing.T) {
			if _, stderr, err := run(t, p.probe); err != nil {
				t.Skipf("it needs %s: %v: %v %s", p.needs, p.probe, err, stderr)
			}
			stdout, stderr, err := run(t, append(p.command, url, p.topic))
			if err != nil || stdout != want {
				t.Errorf("%v: %v\n%s\n%s\nwant\n%s", p.command, err, stderr, stdout, want)
			}
		})
	}
}

// run runs a program, which is to reach this machine directly.
func run(t *testing.T, command []string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")
	cmd.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}
