package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// patch is one defect.
type patch struct {
	name string
	path string
	what string
	aims [][]string // arguments of go test
}

// readPatches reads the patches of a folder, sorted by name.
func readPatches(dir string) ([]patch, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.patch"))
	if err != nil {
		return nil, err
	}
	var list []patch
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		p, err := parsePatch(path, string(text))
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

func parsePatch(path, text string) (patch, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return patch{}, err
	}
	p := patch{name: strings.TrimSuffix(filepath.Base(path), ".patch"), path: absolute}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if what, ok := strings.CutPrefix(line, "What: "); ok {
			p.what = what
		} else if aim, ok := strings.CutPrefix(line, "Aim: "); ok {
			p.aims = append(p.aims, strings.Fields(aim))
		} else if strings.HasPrefix(line, "diff ") {
			break
		}
	}
	if p.what == "" || len(p.aims) == 0 {
		return p, fmt.Errorf("%s: want lines What: and Aim: before the difference", path)
	}
	return p, nil
}

// apply changes the module in dir, or back with reverse. With check nothing is changed.
func (p *patch) apply(ctx context.Context, dir string, flags ...string) error {
	git := exec.CommandContext(ctx, "git", append(append([]string{"apply"}, flags...), p.path)...)
	git.Dir = dir
	// Outside of a repository git apply changes the files below the folder it runs in.
	git.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	if printed, err := git.CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not apply: %w: %s", filepath.Base(p.path), err, printed)
	}
	return nil
}

// copyModule copies what go needs of a module.
func copyModule(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if relative != "." && strings.HasPrefix(name, ".") || relative == "bench" || relative == "bin" {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, relative), 0o700)
		}
		if !entry.Type().IsRegular() || strings.HasPrefix(name, ".") {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, relative), content, 0o600)
	})
}
