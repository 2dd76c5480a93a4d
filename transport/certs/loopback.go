package certs

import (
	"net"
	"net/netip"
	"strings"
)

// IsLoopback reports whether an address, with or without a port, never leaves this machine: localhost,
// 127.0.0.0/8 or ::1. An unspecified address does not qualify, as it stands for all of them, and neither
// does any other name, as only its resolver knows.
func IsLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
