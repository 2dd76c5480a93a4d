package log

import (
	"context"
	"crypto/sha256"
	_ "embed" // the source of a peer
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
)

//go:embed java/LogPeer.java
var javaSource string

//go:embed java/pom.xml
var javaProject string

const (
	chronicleName = "Chronicle Queue"
	chronicleNote = "5.27ea0 on a JVM with a heap of 512 MiB that is there from the start; " +
		"mapped, without checksums and without syncs"
)

// chronicleTrial is how long the first round takes at most; the program does not warm up for so little.
const chronicleTrial = 20 * time.Millisecond

// chronicleOpens are what Chronicle's own documentation asks for on Java 17.
var chronicleOpens = []string{
	"--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED", "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
	"--add-exports=jdk.unsupported/sun.misc=ALL-UNNAMED",
	"--add-exports=jdk.compiler/com.sun.tools.javac.file=ALL-UNNAMED",
	"--add-opens=jdk.compiler/com.sun.tools.javac=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED",
	"--add-opens=java.base/java.lang.reflect=ALL-UNNAMED", "--add-opens=java.base/java.io=ALL-UNNAMED",
	"--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
}

// workshop builds the peer on the JVM, once.
type workshop struct {
	chronicle func(context.Context) (classPath string, err error)
}

func newWorkshop() *workshop {
	var mu sync.Mutex
	var path string
	var err error
	done := false
	return &workshop{func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if !done {
			path, err = buildChronicle(ctx)
			done = ctx.Err() == nil
		}
		return path, err
	}}
}

// buildChronicle gives the class path of java/LogPeer.java and the released jars. Once they are there, in a
// folder of the user's cache that is named after the sources, no network is needed.
func buildChronicle(ctx context.Context) (string, error) {
	for _, program := range []string{"java", "javac", "mvn"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", benchkit.Skipf("no %s for Chronicle Queue", program)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	hash := sha256.Sum256([]byte(javaSource + javaProject))
	dir := filepath.Join(cache, "leat-bench", "chronicle-"+hex.EncodeToString(hash[:8]))
	path := filepath.Join(dir, "lib", "*") + string(os.PathListSeparator) + dir
	if _, err := os.Stat(filepath.Join(dir, "LogPeer.class")); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for name, text := range map[string]string{"LogPeer.java": javaSource, "pom.xml": javaProject} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	err = runIn(ctx, dir, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib")
	if err != nil {
		return "", benchkit.Skipf("Maven did not get Chronicle Queue: %v", err)
	}
	return path, runIn(ctx, dir, "javac", "-cp", path, "-d", dir, "LogPeer.java")
}

func runIn(ctx context.Context, dir, program string, arguments ...string) error {
	command := exec.CommandContext(ctx, program, arguments...)
	command.Dir = dir
	output, err := command.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%s: %w; it said %q", program, err, output[max(0, len(output)-400):])
	}
	return err
}

// chronicleCase adds a scenario of java/LogPeer.java, which takes times the usual length, but for the first
// round: a process warms up by itself, so that one only shows that it runs. Each round has a folder of its
// own; that of the round before is removed.
func (s *suite) chronicleCase(to *benchkit.Scenario, p *places, scenario string, size int, times int64) {
	var last string
	to.Cases = append(to.Cases, benchkit.Case{
		Name: chronicleName, Role: benchkit.Peer, Level: levelPage, Note: chronicleNote,
		Command: &benchkit.Command{Path: "java", Prepare: func(ctx context.Context, c *benchkit.Command) error {
			classes, err := s.chronicle(ctx)
			if err != nil {
				return err
			}
			length := max(times*s.length.Milliseconds(), 1)
			if last == "" {
				length = min(length, chronicleTrial.Milliseconds())
			} else {
				err = os.RemoveAll(last)
			}
			folder, folderErr := p.folder()
			if err := errors.Join(err, folderErr); err != nil {
				return err
			}
			last = folder
			c.Args = append(append([]string{}, chronicleOpens...), "-Xms512m", "-Xmx512m", "-XX:+AlwaysPreTouch",
				"-Dchronicle.analytics.disable=true", "-Dchronicle.disk.monitor.disable=true", "-cp", classes,
				"LogPeer", scenario, strconv.Itoa(size), strconv.FormatInt(length, 10), filepath.Join(folder, "queue"))
			return drain(p.dir)
		}},
	})
}
