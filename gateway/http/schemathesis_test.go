package httpdoor

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/gateway/push"
	"github.com/leatbus/leat/mmaplog"
)

// schemathesisVersion is pinned: another one finds other things.
const schemathesisVersion = "4.32.5"

var runSchemathesis = flag.Bool("schemathesis", false,
	"call the door as its OpenAPI document says, with schemathesis, which is installed for this user")

// TestSchemathesis has a fuzzer make requests of the document: whatever it sends, the door does not fail and
// answers with statuses, types and bodies that the document has.
func TestSchemathesis(t *testing.T) {
	if !*runSchemathesis {
		t.Skip("without -schemathesis")
	}
	program, err := installSchemathesis(t.Context())
	if err != nil {
		t.Skipf("schemathesis cannot be installed: %v", err)
	}
	// What it may make up as a URL is not to be reached.
	d := open(t, Config{Push: &push.Options{Dir: "push", FS: mmaplog.Heap()}})
	for i := range 5 { // what testdata/schemathesis_hooks.py names
		d.call("POST", fmt.Sprintf("/v1/topics/wide/messages?partition=%d", i%3), nil)
	}
	waiting := d.publish("wide", leat.Message{Key: []byte("k"), Delay: 1000 * time.Hour})
	sub := must(d.bus.Subscribe("wide", leat.Group("g")))
	shop := push.Config{Name: "shop", Topic: "t", URL: "https://example.com"} // t has no messages
	must(d.door.pusher.Add(t.Context(), shop, "", true))
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute) // a slow machine needs them
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--no-color", "run", d.url+"/openapi.json",
		"--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"+
			"response_headers_conformance,response_schema_conformance",
		"--phases", "coverage,fuzzing", "--max-examples", "4", "--seed", "1",
		"--generation-deterministic", "--request-timeout", "60", "--exclude-operation-id", "events")
	hooks, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Dir = t.TempDir() // it leaves files where it runs
	cmd.Env = append(os.Environ(), "SCHEMATHESIS_HOOKS=schemathesis_hooks", "PYTHONPATH="+hooks,
		"LEAT_HANDLE="+waiting.Handle, "PYTHONDONTWRITEBYTECODE=1", "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// installSchemathesis makes a virtual environment in the cache of this user, once for each version.
func installSchemathesis(ctx context.Context) (program string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cache, "leat", "schemathesis-"+schemathesisVersion)
	bin := filepath.Join(folder, "bin")
	if runtime.GOOS == "windows" {
		bin = filepath.Join(folder, "Scripts")
	}
	program = filepath.Join(bin, "schemathesis")
	done := filepath.Join(folder, "installed") // an installation that was cut off has it not
	if _, err := os.Stat(done); err == nil && exec.CommandContext(ctx, program, "--version").Run() == nil {
		return program, nil // else what it was made with is perhaps gone
	}
	if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(filepath.Dir(folder), 0o700)); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for _, command := range [][]string{
		{"python3", "-m", "venv", folder},
		{filepath.Join(bin, "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
			"--retries", "0", "--timeout", "10", "schemathesis==" + schemathesisVersion},
	} {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.WaitDelay = time.Second
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w: %.300s", cmd.Args, err, out)
		}
	}
	return program, os.WriteFile(done, nil, 0o600)
}
