package benchkit

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// Environment is what a figure depends on besides the code. What cannot be found out is empty.
type Environment struct {
	Machine    string `json:"machine"` // a short name made of the processor, for folders
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	GoMaxProcs int    `json:"gomaxprocs"`
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	FileSystem string `json:"file_system"` // of the folder that held the data
	Commit     string `json:"commit"`
	GCPercent  string `json:"gc_percent"`
	// Oversubscribed says that scenarios of more than two busy threads share cores.
	Oversubscribed bool `json:"oversubscribed"`

	Processor Processor `json:"processor"`
	System    System    `json:"system"`
	Build     Build     `json:"build"`
}

// Build is how this program was built and is run.
type Build struct {
	Tags        string `json:"tags"`         // -tags of the build
	Level       string `json:"level"`        // GOAMD64 or its like
	CGO         string `json:"cgo"`          // CGO_ENABLED of the build
	MemoryLimit string `json:"memory_limit"` // GOMEMLIMIT
	Debug       string `json:"debug"`        // GODEBUG
}

// Capture describes this machine and the file system of dir.
func Capture(dir string) Environment {
	e := Environment{
		CPU:            cpuModel(),
		Cores:          runtime.NumCPU(),
		GoMaxProcs:     runtime.GOMAXPROCS(0),
		OS:             runtime.GOOS,
		Arch:           runtime.GOARCH,
		Kernel:         kernelRelease(),
		Go:             runtime.Version(),
		FileSystem:     fileSystemOf(dir),
		GCPercent:      gcPercent(),
		Oversubscribed: runtime.GOMAXPROCS(0) <= 2,
		Processor:      captureProcessor(),
		System:         captureSystem(dir),
	}
	e.Machine = machineName(e.CPU, e.Cores)
	e.Commit, e.Build = captureBuild()
	if e.Commit == "" {
		e.Commit = workTreeCommit()
	}
	return e
}

// machineName turns "AMD EPYC 7B13 64-Core" and 2 into "amd-epyc-7b13-64-core-2cpu".
func machineName(cpu string, cores int) string {
	words := strings.FieldsFunc(strings.ToLower(cpu), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	return fmt.Sprintf("%s-%dcpu", strings.Join(words, "-"), cores)
}

func (e *Environment) line() string {
	commit := e.Commit
	if commit == "" {
		commit = "unknown commit"
	}
	return fmt.Sprintf("%s, %d cores (GOMAXPROCS %d), %s/%s %s, %s, %s, %s",
		e.CPU, e.Cores, e.GoMaxProcs, e.OS, e.Arch, e.Kernel, e.FileSystem, e.Go, commit)
}

// captureBuild reads what was built in: the revision with a mark for changed files, and the settings.
func captureBuild() (commit string, b Build) {
	b.MemoryLimit, b.Debug = os.Getenv("GOMEMLIMIT"), os.Getenv("GODEBUG")
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", b
	}
	changed := ""
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			commit = setting.Value
		case "vcs.modified":
			if setting.Value == "true" {
				changed = changedMark
			}
		case "-tags":
			b.Tags = setting.Value
		case "CGO_ENABLED":
			b.CGO = setting.Value
		case "GOAMD64", "GOARM64", "GO386", "GOARM", "GORISCV64":
			b.Level = setting.Key + "=" + setting.Value
		}
	}
	if commit == "" {
		return "", b
	}
	return commit + changed, b
}

func gcPercent() string {
	if percent := os.Getenv("GOGC"); percent != "" {
		return percent
	}
	return "100"
}
