package push

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

// last is the last address of a range.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// TestGuardRanges: both ends of each row are refused, in every spelling, and their neighbours are not
// taken for them.
func TestGuardRanges(t *testing.T) {
	var g Guard
	for _, row := range refused {
		for _, address := range []netip.Addr{row.prefix.Addr(), last(row.prefix)} {
			spellings := []netip.Addr{address}
			if address.Is4() {
				b := address.As4()
				spellings = append(spellings, netip.AddrFrom16(address.As16()),
					netip.AddrFrom16([16]byte{0, 0x64, 0xff, 0x9b, 12: b[0], b[1], b[2], b[3]}),
					netip.AddrFrom16([16]byte{0x20, 0x02, b[0], b[1], b[2], b[3], 15: 1}),
					netip.AddrFrom16([16]byte{0x26, 0x06, 10: 0x5e, 0xfe, b[0], b[1], b[2], b[3]}),
					netip.AddrFrom16([16]byte{0x26, 0x06, 8: 2, 10: 0x5e, 0xfe, b[0], b[1], b[2], b[3]}),
					netip.AddrFrom16([16]byte{12: b[0], b[1], b[2], b[3]}))
			} else {
				spellings = append(spellings, address.WithZone("eth0"))
			}
			for _, spelling := range spellings {
				if err := g.Check(spelling); err == nil {
					t.Errorf("%v of %v (%s) is taken", spelling, row.prefix, row.what)
				}
			}
		}
		for _, address := range []netip.Addr{row.prefix.Addr().Prev(), last(row.prefix).Next()} {
			if !address.IsValid() {
				continue
			}
			if err := g.Check(address); err != nil && strings.HasSuffix(err.Error(), " is "+row.what) &&
				!inAnother(address, row.prefix) {
				t.Errorf("%v beside %v: %v", address, row.prefix, err)
			}
		}
	}
}

func inAnother(address netip.Addr, but netip.Prefix) bool {
	for _, row := range refused {
		if row.prefix != but && row.prefix.Contains(address) {
			return true
		}
	}
	return false
}

func TestGuard(t *testing.T) {
	allow := func(list ...string) (g Guard) {
		for _, text := range list {
			g.Allow = append(g.Allow, netip.MustParsePrefix(text))
		}
		return g
	}
	for _, tt := range []struct {
		address string
		allow   []string
		refused string // part of the error; empty: taken
	}{
		{"93.184.216.34", nil, ""},
		{"1.1.1.1", nil, ""},
		{"::ffff:1.1.1.1", nil, ""},
		{"2606:4700:4700::1111", nil, ""},
		{"64:ff9b::101:101", nil, ""}, // NAT64 of 1.1.1.1
		{"2002:101:101::1", nil, ""},  // 6to4 of 1.1.1.1
		{"127.0.0.1", nil, "loopback"},
		{"::1", nil, "loopback"},
		{"::", nil, "unspecified"},
		{"0.0.0.0", nil, "this network"},
		{"10.1.2.3", nil, "private"},
		{"172.31.255.255", nil, "private"},
		{"192.168.1.1", nil, "private"},
		{"100.64.0.1", nil, "CGNAT"},
		{"169.254.169.254", nil, "metadata"},
		{"169.254.170.2", nil, "metadata"},
		{"fd00:ec2::254", nil, "metadata"},
		{"fe80::1", nil, "link-local"},
		{"fe80::1%eth0", nil, "link-local"},
		{"224.0.0.251", nil, "multicast"},
		{"ff02::1", nil, "multicast"},
		{"255.255.255.255", nil, "broadcast"},
		{"::ffff:169.254.169.254", nil, "metadata"},
		{"::127.0.0.1", nil, "not given out"},
		{"64:ff9b::a9fe:a9fe", nil, "leads to another"}, // NAT64 of 169.254.169.254
		{"64:ff9b::7f00:1", nil, "leads to another"},
		{"64:ff9b:1::1", nil, "NAT64"},
		{"2002:a9fe:a9fe::", nil, "leads to another"},
		{"2002:7f00:1::1", nil, "leads to another"},
		{"2606::5efe:10.0.0.1", nil, "leads to another"},
		{"2001::1", nil, "of protocols"}, // Teredo
		{"4000::1", nil, "not given out"},
		{"127.0.0.1", []string{"127.0.0.0/8"}, ""},
		{"::ffff:127.0.0.1", []string{"127.0.0.0/8"}, ""},
		{"64:ff9b::7f00:1", []string{"127.0.0.0/8"}, ""},
		{"::1", []string{"127.0.0.0/8"}, "loopback"},
		{"10.0.0.1", []string{"192.168.0.0/16", "10.0.0.1/32"}, ""},
		{"10.0.0.2", []string{"192.168.0.0/16", "10.0.0.1/32"}, "private"},
		{"169.254.169.254", []string{"10.0.0.0/8"}, "metadata"},
		{"fd00::1", []string{"fd00::/16"}, ""},
	} {
		g := allow(tt.allow...)
		err := g.Check(netip.MustParseAddr(tt.address))
		if (err == nil) != (tt.refused == "") || err != nil && !strings.Contains(err.Error(), tt.refused) {
			t.Errorf("%s with %v: %v; want %q", tt.address, tt.allow, err, tt.refused)
		}
	}
	var g Guard
	if g.Check(netip.Addr{}) == nil || g.control("tcp", "nonsense", nil) == nil ||
		g.control("tcp6", net.JoinHostPort("fe80::1%lo", "443"), nil) == nil {
		t.Error("what is no address is taken")
	}
	if err := g.control("tcp4", "1.1.1.1:443", nil); err != nil {
		t.Error(err)
	}
}
