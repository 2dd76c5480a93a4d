package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat/core"
)

// buildVersion is what `leat version` tells. The keys are stable.
type buildVersion struct {
	Version string `json:"version"`
	Commit  string `json:"commit"` // empty if it was not built in
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Format  int    `json:"format"` // newest version of the files on disk this build reads
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show version, commit and format of this build",
		Example: examples("leat version", "leat version -o json"),
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			v := thisBuild()
			return a.write(v, func() error { return writeVersion(a.stdout, &v) })
		},
	}
}

func writeVersion(w io.Writer, v *buildVersion) error {
	commit := v.Commit
	if commit == "" {
		commit = "unknown"
	}
	_, err := fmt.Fprintf(w, "leat %s\ncommit %s\n%s %s/%s\nformat %d\n",
		v.Version, commit, v.Go, v.OS, v.Arch, v.Format)
	return err
}

func thisBuild() buildVersion {
	v := buildVersion{
		Version: "devel",
		Go:      runtime.Version(),
		OS:      runtime.GOOS,
		Arch:    runtime.GOARCH,
		Format:  core.FrameVersion,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if main := info.Main.Version; main != "" && main != "(devel)" {
		v.Version = main
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			v.Commit = setting.Value
		}
	}
	return v
}
