package core

import "encoding/binary"

// HeaderNamed gives the value of the first header with a name among encoded headers, see Record.RawHeaders,
// and whether there is one. The value points into raw. It looks at no more than raw has, and stops where that
// is damaged: who delivers the record tells.
func HeaderNamed(raw []byte, name string) (value []byte, found bool) {
	const fixed = 6 // lengths of name and value
	for len(raw) >= fixed {
		nameEnd := fixed + uint64(binary.LittleEndian.Uint16(raw))
		end := nameEnd + uint64(binary.LittleEndian.Uint32(raw[2:]))
		if end > uint64(len(raw)) {
			break
		}
		if string(raw[fixed:nameEnd]) == name {
			return raw[nameEnd:end:end], true
		}
		raw = raw[end:]
	}
	return nil, false
}
