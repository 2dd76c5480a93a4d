package main

import "github.com/spf13/cobra"

// configFlags are the flags of commands that load the configuration of leat serve.
type configFlags struct{ path string }

// add gives cmd --config and a flag for every setting. They are text here: loadConfig checks the values of
// all sources by the same rules.
func (f *configFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.path, "config", "c", "", "configuration file (TOML)")
	for _, s := range settings {
		flags.String(s.flag, s.fallback, s.about+" ("+s.variable()+")")
		flags.Lookup(s.flag).NoOptDefVal = s.bare
	}
}

// load loads the configuration from the flags that cmd was given, env and the file.
func (f *configFlags) load(cmd *cobra.Command, env []string) (serveConfig, origins, error) {
	given := map[string]string{}
	for _, s := range settings {
		if flag := cmd.Flags().Lookup(s.flag); flag.Changed {
			given[s.flag] = flag.Value.String()
		}
	}
	return loadConfig(f.path, env, given)
}
