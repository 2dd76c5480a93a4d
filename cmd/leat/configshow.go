package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func newConfig(a *app) *cobra.Command {
	group := &cobra.Command{
		Use:   "config",
		Short: "Show the configuration of leat serve",
		Long: "Flags win over LEAT_ variables, these over the file, and it over the defaults.\n" +
			"docs/configuration.md has every setting.",
		Example: examples("leat config show", "leat config show --origin -o json"),
	}
	group.AddCommand(newConfigShow(a))
	asGroup(group)
	return group
}

func newConfigShow(a *app) *cobra.Command {
	var flags configFlags
	var origin bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the value of every setting, as a file that leat serve takes",
		Long: "It reads flags, file and environment as leat serve would, and fails where that would.\n" +
			"Only names of certificate files are shown, never what is in them.",
		Example: examples("leat config show", "leat config show --origin --config leat.toml",
			"leat config show --config leat.toml --log-level debug -o json"),
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, from, err := flags.load(cmd, os.Environ())
			if err != nil {
				return err
			}
			if !origin {
				from = nil
			}
			return a.write(configDocument(&c, from), func() error { return writeConfig(a.stdout, &c, from) })
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&origin, "origin", false, "show where each value comes from")
	return cmd
}

// shownSetting is one setting for programs.
type shownSetting struct {
	Value  any    `json:"value"`
	Origin string `json:"origin,omitempty"`
}

func configDocument(c *serveConfig, from origins) map[string]shownSetting {
	document := map[string]shownSetting{}
	for _, s := range settings {
		document[s.key] = shownSetting{s.get(c), string(from[s.key])}
	}
	return document
}

// writeConfig writes a file that gives the same configuration; origins, if any, stand in comments.
func writeConfig(w io.Writer, c *serveConfig, from origins) error {
	var b strings.Builder
	section := ""
	for _, s := range settings {
		if s.section() != section {
			if section != "" {
				b.WriteByte('\n')
			}
			section = s.section()
			fmt.Fprintf(&b, "[%s]\n", section)
		}
		fmt.Fprintf(&b, "%s = %s", s.name(), spellTOML(s.get(c)))
		if from != nil {
			fmt.Fprintf(&b, "  # %s", printable(string(from[s.key])))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// spellTOML spells a value of a setting. Texts hold no control characters, so that what JSON makes of them
// is a basic string of TOML, too.
func spellTOML(value any) string {
	switch value := value.(type) {
	case int:
		return strconv.Itoa(value)
	case map[string]string:
		if len(value) == 0 {
			return "{}"
		}
		var pairs []string
		for _, id := range slices.Sorted(maps.Keys(value)) {
			pairs = append(pairs, id+" = "+spellTOML(value[id]))
		}
		return "{ " + strings.Join(pairs, ", ") + " }"
	default:
		spelled, err := json.Marshal(value)
		if err != nil {
			panic("cmd/leat: a text that JSON cannot spell") // the values are checked: always UTF-8
		}
		return string(spelled)
	}
}
