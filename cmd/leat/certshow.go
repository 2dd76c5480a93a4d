package main

import (
	"crypto/x509"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport/certs"
)

// shownFile is what cert show tells of a file. The keys are stable.
type shownFile struct {
	File         string      `json:"file"`
	Certificates []shownCert `json:"certificates"`
}

type shownCert struct {
	Subject     string    `json:"subject"`
	Issuer      string    `json:"issuer"`
	CA          bool      `json:"ca"`
	Development string    `json:"development"` // of this user's development CA: "ca", "issued" or ""
	Hosts       []string  `json:"hosts"`
	URIs        []string  `json:"uris"`
	Usages      []string  `json:"usages"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Valid       bool      `json:"valid"` // now
	Fingerprint string    `json:"fingerprint"`
}

func newCertShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show [FILE]",
		Short: "Show the certificates of a file, or the development CA",
		Long: "Without FILE it shows the development CA of this user, which server and clients make when they\n" +
			"first need it. Private keys are never shown.",
		Example: examples("leat cert show", "leat cert show certs/ca.crt -o json"),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef(cmd, "unexpected argument %q", args[1])
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.showCert(args) },
	}
}

func (a *app) showCert(args []string) error {
	development, _, err := certs.DevelopmentFiles("")
	file := development
	if len(args) == 1 {
		file, err = args[0], nil // without a configuration folder there is just no development CA
	}
	if err != nil {
		return err
	}
	list, err := certs.ReadCertificates(file)
	if err != nil {
		return err
	}
	var ca *x509.Certificate
	if own, err := certs.ReadCertificates(development); err == nil {
		ca = own[0]
	}
	shown := shownFile{File: file}
	now := time.Unix(0, clock.System.Now())
	for _, cert := range list {
		shown.Certificates = append(shown.Certificates, describe(cert, ca, now))
	}
	return a.write(shown, func() error { return writeCerts(a.stdout, shown) })
}

// describe tells what a certificate is; development may be nil.
func describe(cert, development *x509.Certificate, now time.Time) shownCert {
	s := shownCert{
		Subject: cert.Subject.String(), Issuer: cert.Issuer.String(), CA: cert.IsCA,
		Hosts: append([]string{}, cert.DNSNames...), URIs: []string{}, Usages: usages(cert),
		NotBefore: cert.NotBefore.UTC(), NotAfter: cert.NotAfter.UTC(),
		Valid:       !now.Before(cert.NotBefore) && !now.After(cert.NotAfter),
		Fingerprint: certs.Fingerprint(cert),
	}
	for _, ip := range cert.IPAddresses {
		s.Hosts = append(s.Hosts, ip.String())
	}
	for _, uri := range cert.URIs {
		s.URIs = append(s.URIs, uri.String())
	}
	switch {
	case development == nil:
	case cert.Equal(development):
		s.Development = "ca"
	case cert.CheckSignatureFrom(development) == nil:
		s.Development = "issued"
	}
	return s
}

func usages(cert *x509.Certificate) []string {
	list := []string{}
	if cert.IsCA {
		list = append(list, "sign certificates")
	}
	for _, usage := range cert.ExtKeyUsage {
		switch usage {
		case x509.ExtKeyUsageServerAuth:
			list = append(list, "server")
		case x509.ExtKeyUsageClientAuth:
			list = append(list, "client")
		default:
			list = append(list, fmt.Sprintf("other (%d)", usage))
		}
	}
	return list
}

func writeCerts(w io.Writer, shown shownFile) error {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-13s%s\n", name, printable(value))
		}
	}
	line("file", shown.File)
	for _, c := range shown.Certificates {
		line("subject", c.Subject)
		line("issuer", c.Issuer)
		line("hosts", strings.Join(c.Hosts, ", "))
		line("uris", strings.Join(c.URIs, ", "))
		line("usages", strings.Join(c.Usages, ", "))
		validity := c.NotBefore.Format(time.RFC3339) + " to " + c.NotAfter.Format(time.RFC3339)
		if !c.Valid {
			validity += " (not valid now)"
		}
		line("valid", validity)
		switch c.Development {
		case "ca":
			line("development", "this is the development CA of this user")
		case "issued":
			line("development", "issued by the development CA of this user")
		}
		line("fingerprint", c.Fingerprint)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
