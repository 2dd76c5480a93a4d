package push

import (
	"fmt"
	"net/netip"
	"syscall"
)

// Guard says which addresses may be connected to: those of the public internet, and those of Allow. A URL
// that somebody else chose reaches nothing else, whatever its name resolves to at the moment.
type Guard struct {
	Allow []netip.Prefix
}

// refused are the ranges that belong to nobody on the public internet, or to this machine and its network
// (IANA special-purpose registries for IPv4 and IPv6).
var refused = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared by a provider (CGNAT)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local, which has the metadata of clouds"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "of protocols"},
	{netip.MustParsePrefix("192.0.2.0/24"), "for documents"},
	{netip.MustParsePrefix("192.88.99.0/24"), "of 6to4 relays"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "for documents"},
	{netip.MustParsePrefix("203.0.113.0/24"), "for documents"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved, or broadcast"},
	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "of a translator of this network (NAT64)"},
	{netip.MustParsePrefix("100::/64"), "discarded"},
	{netip.MustParsePrefix("2001::/23"), "of protocols"}, // Teredo, ORCHID, benchmarks
	{netip.MustParsePrefix("2001:db8::/32"), "for documents"},
	{netip.MustParsePrefix("3fff::/20"), "for documents"},
	{netip.MustParsePrefix("5f00::/16"), "of segment routing"},
	{netip.MustParsePrefix("fc00::/7"), "private, which has the metadata of clouds"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "private of old"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052 §2.1
	sixTo4 = netip.MustParsePrefix("2002::/16")    // RFC 3056 §2
	global = netip.MustParsePrefix("2000::/3")     // what IPv6 has given out, RFC 4291 §2.4
)

// Check says why an address may not be connected to, nil if it may.
func (g *Guard) Check(address netip.Addr) error {
	address = address.Unmap().WithZone("")
	if !address.IsValid() {
		return fmt.Errorf("the address is none")
	}
	for _, prefix := range g.Allow {
		if prefix.Contains(address) {
			return nil
		}
	}
	for _, r := range refused {
		if r.prefix.Contains(address) {
			return fmt.Errorf("the address %v is %s", address, r.what)
		}
	}
	if inner, ok := within(address); ok {
		if err := g.Check(inner); err != nil {
			return fmt.Errorf("%v leads to another address: %w", address, err)
		}
		return nil
	}
	if address.Is6() && !global.Contains(address) {
		return fmt.Errorf("the address %v is not given out", address)
	}
	return nil
}

// within gives the IPv4 address that packets to an IPv6 address end at.
func within(address netip.Addr) (netip.Addr, bool) {
	if !address.Is6() {
		return netip.Addr{}, false
	}
	b := address.As16()
	switch {
	case nat64.Contains(address):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixTo4.Contains(address):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case (b[8] == 0 || b[8] == 2) && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP, RFC 5214 §6.1
		return netip.AddrFrom4([4]byte(b[12:16])), true
	}
	return netip.Addr{}, false
}

// control is what net.Dialer asks before it connects: names are resolved by then, so that one which points
// elsewhere a moment later gains nothing.
func (g *Guard) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return refusal{fmt.Errorf("the address is not understood: %w", err)}
	}
	if err := g.Check(to.Addr()); err != nil {
		return refusal{err}
	}
	return nil
}

// refusal is an error of the guard.
type refusal struct{ error }

// Unwrap gives the reason.
func (r refusal) Unwrap() error { return r.error }

// checkHost refuses the host of a URL that could never be connected to. Names are looked at when they are
// resolved.
func (g *Guard) checkHost(host string) error {
	address, err := netip.ParseAddr(host)
	if err != nil {
		return nil // a name
	}
	return g.Check(address)
}
