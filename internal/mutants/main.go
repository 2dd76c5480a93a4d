package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

func main() {
	only := flag.String("only", "", "a regular expression: plant the defects whose name it matches")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		stop()
		os.Exit(1)
	}
}

// run plants the defects below the folder of the module, which is the working one.
func run(ctx context.Context, only string) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	list, err := readPatches(filepath.Join("internal", "mutants"))
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(p patch) bool { return !pattern.MatchString(p.name) })
	if len(list) == 0 {
		return errors.New("no patch: run it in the folder of the module, as go run ./internal/mutants")
	}
	dir, err := os.MkdirTemp("", "leat-mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := copyModule(".", dir); err != nil {
		return err
	}
	if err := passesClean(ctx, dir, list); err != nil {
		return err
	}
	missed := 0
	fmt.Printf("\n%-26s %-8s %6s  %s\n", "defect", "", "after", "found by")
	for _, p := range list {
		v, err := plant(ctx, dir, &p)
		if err != nil {
			return err
		}
		if !v.caught {
			missed++
		}
		fmt.Println(v.row(&p))
	}
	fmt.Printf("%d of %d defects caught\n", len(list)-missed, len(list))
	if missed > 0 {
		return fmt.Errorf("%d defects missed", missed)
	}
	return nil
}

// passesClean runs every aim on the copy without a defect.
func passesClean(ctx context.Context, dir string, list []patch) error {
	seen := map[string]bool{}
	for _, p := range list {
		for _, aim := range p.aims {
			key := strings.Join(aim, " ")
			if seen[key] {
				continue
			}
			seen[key] = true
			started := clock.System.Mono()
			if printed, err := test(ctx, dir, aim); err != nil {
				return fmt.Errorf("without a defect go test %s fails: %w\n%s", key, err, printed)
			}
			fmt.Printf("passes without a defect, in %v: go test %s\n", since(started), key)
		}
	}
	return nil
}

// verdict is what became of one defect.
type verdict struct {
	caught bool
	took   time.Duration
	by     string // the tests that failed
}

func (v *verdict) row(p *patch) string {
	word := "MISSED"
	if v.caught {
		word = "caught"
	}
	return fmt.Sprintf("%-26s %-8s %6v  %s\n    %s", p.name, word, v.took, v.by, p.what)
}

// plant applies a patch, runs what is aimed at it until one run fails, and takes the patch back.
func plant(ctx context.Context, dir string, p *patch) (v verdict, err error) {
	if err := p.apply(ctx, dir); err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, p.apply(context.WithoutCancel(ctx), dir, "-R")) }()
	started := clock.System.Mono()
	for _, aim := range p.aims {
		printed, err := test(ctx, dir, aim)
		if ctx.Err() != nil {
			return v, ctx.Err()
		}
		if err == nil {
			continue
		}
		if broken.MatchString(printed) {
			return v, fmt.Errorf("%s does not compile: %s", p.name, printed)
		}
		v.caught, v.by = true, failed(printed)
		break
	}
	v.took = since(started)
	return v, nil
}

var (
	broken     = regexp.MustCompile(`\[(build|setup) failed\]`)
	failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
)

// failed names the innermost test that failed first.
func failed(printed string) string {
	names := failedTest.FindAllStringSubmatch(printed, -1)
	best := "a test binary that ended early"
	for _, match := range names {
		if len(best) == 0 || strings.HasPrefix(match[1], best) || best[0] == 'a' {
			best = match[1]
		}
	}
	return best
}

// test runs go test, which has some minutes, as the machine may be busy.
func test(ctx context.Context, dir string, aim []string) (printed string, err error) {
	args := append([]string{"test", "-count=1", "-failfast", "-timeout=900s"}, aim...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	output, err := cmd.CombinedOutput()
	return string(output), err
}

func since(start int64) time.Duration {
	return time.Duration(clock.System.Mono() - start).Round(100 * time.Millisecond)
}
