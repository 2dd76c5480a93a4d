package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/certs"
)

func newCert(a *app) *cobra.Command {
	group := &cobra.Command{
		Use:   "cert",
		Short: "Make and show certificates",
		Long: "On one machine nothing is needed: server and clients of a user share a development CA that\n" +
			"they make themselves. Beyond it, make a CA, and with it a certificate for each node and client.\n" +
			"Nodes get --tls-cert, --tls-key and --tls-client-ca, clients --tls-ca, --tls-cert and --tls-key.",
		Example: examples("leat cert ca --out certs",
			"leat cert issue --ca certs --out certs --host n1.example.com --node 1 --cluster prod",
			"leat cert issue --ca certs --out certs --client --name app"),
	}
	group.AddCommand(newCertCA(a), newCertIssue(a), newCertShow(a))
	asGroup(group)
	return group
}

// writtenFiles is what cert ca and cert issue tell. The keys are stable.
type writtenFiles struct {
	Cert     string    `json:"cert"`
	Key      string    `json:"key"`
	NotAfter time.Time `json:"not_after"`
}

func (a *app) wrote(files writtenFiles) error {
	return a.write(files, func() error {
		_, err := fmt.Fprintf(a.stdout, "certificate  %s\nkey          %s (keep it secret)\nvalid until  %s\n",
			printable(files.Cert), printable(files.Key), files.NotAfter.Format(time.RFC3339))
		return err
	})
}

// writePair writes NAME.crt and NAME.key into dir, which is created if it is absent.
func (a *app) writePair(dir, name string, certPEM, keyPEM []byte, notAfter time.Time) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create the folder: %w", err)
	}
	files := writtenFiles{
		Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key"), NotAfter: notAfter.UTC(),
	}
	if err := certs.WriteFiles(files.Cert, files.Key, certPEM, keyPEM); err != nil {
		return err
	}
	return a.wrote(files)
}

func newCertCA(a *app) *cobra.Command {
	var out, name string
	valid := lifetime(10 * year)
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Make a CA of your own: ca.crt and ca.key",
		Long: "Give ca.crt to everybody. Whoever has ca.key can make certificates: keep it off the servers.\n" +
			"Nothing is overwritten.",
		Example: examples("leat cert ca --out certs", "leat cert ca --out certs --name Example --valid 5y -o json"),
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usagef(cmd, "--out is missing: want the folder for ca.crt and ca.key")
			}
			ca, err := certs.NewAuthority(name, time.Duration(valid))
			if err != nil {
				return err
			}
			return a.writePair(out, "ca", ca.CertPEM(), ca.KeyPEM(), ca.Certificate().NotAfter)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&out, "out", "", "folder to write to; created if absent")
	flags.StringVar(&name, "name", "Leat CA", "name that certificates show as their issuer")
	flags.Var(&valid, "valid", "how long it is valid, as in 90d, 10y or 12h; at most 30y")
	return cmd
}

// issueFlags are the flags of cert issue.
type issueFlags struct {
	ca, out, name, cluster string
	hosts                  []string
	node                   uint16
	client, server         bool
	valid                  lifetime
}

func newCertIssue(a *app) *cobra.Command {
	f := issueFlags{valid: lifetime(year)}
	cmd := &cobra.Command{
		Use:   "issue",
		Short: "Issue a certificate for a server, a client or a node of a cluster",
		Long: "Writes NAME.crt and NAME.key; NAME is --name, else node-ID or the first host. Without --client\n" +
			"and --server the certificate is for a server, with --node for both. Nothing is overwritten.",
		Example: examples("leat cert issue --ca certs --out certs --host n1.example.com,10.0.0.1",
			"leat cert issue --ca certs --out certs --host n2.example.com --node 2 --cluster prod --valid 90d",
			"leat cert issue --ca certs --out certs --client --name app -o json"),
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.issue(cmd, &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.ca, "ca", "", "folder with ca.crt and ca.key (leat cert ca makes it)")
	flags.StringVar(&f.out, "out", "", "folder to write to; created if absent")
	flags.StringVar(&f.name, "name", "", "name of the holder, and of the files")
	flags.StringSliceVar(&f.hosts, "host", nil, "DNS names and addresses that clients use, separated by commas")
	flags.BoolVar(&f.client, "client", false, "the holder may connect")
	flags.BoolVar(&f.server, "server", false, "the holder may serve")
	flags.Uint16Var(&f.node, "node", 0, "id of the node in its cluster, from 1; goes with --cluster")
	flags.StringVar(&f.cluster, "cluster", "", "name of the cluster; goes with --node")
	flags.Var(&f.valid, "valid", "how long it is valid, as in 90d or 12h; at most one year")
	return cmd
}

func (a *app) issue(cmd *cobra.Command, f *issueFlags) error {
	spec, err := f.spec(cmd)
	if err != nil {
		return err
	}
	ca, err := certs.LoadAuthority(filepath.Join(f.ca, "ca.crt"), filepath.Join(f.ca, "ca.key"))
	if err != nil {
		return err
	}
	// A CA made for a year has less than that left: what is not asked for gives way.
	if !cmd.Flags().Changed("valid") {
		spec.Valid = 0
	}
	issued, err := ca.Issue(spec)
	if err != nil {
		return err
	}
	return a.writePair(f.out, fileName(spec.CommonName), issued.CertPEM, issued.KeyPEM,
		issued.TLS().Leaf.NotAfter)
}

// spec checks the flags against each other.
func (f *issueFlags) spec(cmd *cobra.Command) (certs.Spec, error) {
	spec := certs.Spec{CommonName: f.name, Hosts: f.hosts, Server: f.server, Client: f.client,
		Valid: time.Duration(f.valid)}
	isNode := cmd.Flags().Changed("node")
	if !f.server && !f.client {
		spec.Server, spec.Client = true, isNode
	}
	switch {
	case f.ca == "":
		return spec, usagef(cmd, "--ca is missing: want the folder with ca.crt and ca.key")
	case f.out == "":
		return spec, usagef(cmd, "--out is missing: want the folder for the certificate and its key")
	case isNode != (f.cluster != ""):
		return spec, usagef(cmd, "--node and --cluster go together: a node has its id within a cluster")
	case isNode && f.node == 0:
		return spec, usagef(cmd, "--node 0: want 1 to 65535")
	case spec.Server && len(f.hosts) == 0:
		return spec, usagef(cmd, "--host is missing: a server needs the names or addresses that clients use")
	}
	if isNode {
		if err := core.ValidateName("cluster", f.cluster); err != nil {
			return spec, err
		}
		spec.URIs = []string{fmt.Sprintf("leat://%s/%d", f.cluster, f.node)}
	}
	switch {
	case spec.CommonName != "":
	case isNode:
		spec.CommonName = "node-" + strconv.Itoa(int(f.node))
	case len(f.hosts) > 0:
		spec.CommonName = f.hosts[0]
	default:
		return spec, usagef(cmd, "--name is missing: a client without a host needs one")
	}
	return spec, nil
}

// fileName keeps what every file system takes.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '_'
	}, name)
}

const year = 365 * 24 * time.Hour

// lifetime is a flag for a long time: a Go duration, or a number of days (d) or years of 365 days (y).
type lifetime time.Duration

// String gives the value in the largest unit that is exact.
func (l *lifetime) String() string {
	switch d := time.Duration(*l); {
	case d == 0:
		return ""
	case d%year == 0:
		return strconv.FormatInt(int64(d/year), 10) + "y"
	case d%(24*time.Hour) == 0:
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	default:
		return d.String()
	}
}

// Set reads a duration above 0.
func (l *lifetime) Set(text string) error {
	wrong := fmt.Errorf("want a time above 0, such as 12h, 90d or 10y; at most 100y")
	unit := time.Duration(0)
	digits := text
	if rest, ok := strings.CutSuffix(text, "d"); ok {
		digits, unit = rest, 24*time.Hour
	} else if rest, ok := strings.CutSuffix(text, "y"); ok {
		digits, unit = rest, year
	}
	if unit == 0 {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 || d > 100*year {
			return wrong
		}
		*l = lifetime(d)
		return nil
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || time.Duration(n) > 100*year/unit {
		return wrong
	}
	*l = lifetime(time.Duration(n) * unit)
	return nil
}

// Type names the value in help texts.
func (l *lifetime) Type() string { return "duration" }
