package benchkit

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// Environment is what a figure depends on besides the code.
type Environment struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	GoMaxProcs int    `json:"gomaxprocs"`
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	FileSystem string `json:"file_system"` // of the folder that held the data
	Commit     string `json:"commit"`      // empty if the build does not know it
	GCPercent  string `json:"gc_percent"`
	// Oversubscribed says that scenarios of more than two busy threads share cores.
	Oversubscribed bool `json:"oversubscribed"`
}

// Capture describes this machine and the file system of dir. What cannot be found out is empty.
func Capture(dir string) Environment {
	return Environment{
		CPU:            cpuModel(),
		Cores:          runtime.NumCPU(),
		GoMaxProcs:     runtime.GOMAXPROCS(0),
		OS:             runtime.GOOS,
		Arch:           runtime.GOARCH,
		Kernel:         kernelRelease(),
		Go:             runtime.Version(),
		FileSystem:     fileSystemOf(dir),
		Commit:         commit(),
		GCPercent:      gcPercent(),
		Oversubscribed: runtime.GOMAXPROCS(0) <= 2,
	}
}

func (e *Environment) line() string {
	commit := e.Commit
	if commit == "" {
		commit = "unknown commit"
	}
	return fmt.Sprintf("%s, %d cores (GOMAXPROCS %d), %s/%s %s, %s, %s, %s",
		e.CPU, e.Cores, e.GoMaxProcs, e.OS, e.Arch, e.Kernel, e.FileSystem, e.Go, commit)
}

// commit is the revision that was built in, with a mark for changed files.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	revision, modified := "", ""
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			revision = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			modified = "+changes"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + modified
}

func gcPercent() string {
	if percent := os.Getenv("GOGC"); percent != "" {
		return percent
	}
	return "100"
}

// cpuModel reads what Linux says; elsewhere the architecture has to do.
func cpuModel() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
