package wire

import (
	"encoding/binary"

	"github.com/leatbus/leat/core"
)

// CatalogueSnapshot is the aux of the CATALOGUE frame that begins a snapshot.
const CatalogueSnapshot uint16 = 1

// maxCatalogueRecord is more than any record of a catalogue has.
const maxCatalogueRecord = 64 << 10

// AppendCatalogue appends one record to the payload of a CATALOGUE frame.
func AppendCatalogue(dst []byte, r *core.CatalogueRecord) []byte {
	at := len(dst)
	dst = r.Encode(append(dst, 0, 0, 0, 0))
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// DecodeCatalogue reads the payload of a CATALOGUE frame, appending to into. A payload without a record is
// wrong. Errors: core.CodeProtocol for lengths, those of core.DecodeCatalogueRecord for what is in them.
func DecodeCatalogue(payload []byte, into []core.CatalogueRecord) ([]core.CatalogueRecord, error) {
	if len(payload) == 0 {
		return into, Errorf("CATALOGUE without a record")
	}
	for len(payload) > 0 {
		if len(payload) < 4 {
			return into, Errorf("CATALOGUE with %d bytes too many", len(payload))
		}
		n := binary.LittleEndian.Uint32(payload)
		payload = payload[4:]
		if n > maxCatalogueRecord || int(n) > len(payload) {
			return into, Errorf("CATALOGUE with a record of %d bytes, %d left", n, len(payload))
		}
		r, err := core.DecodeCatalogueRecord(payload[:n])
		if err != nil {
			return into, err
		}
		into, payload = append(into, r), payload[n:]
	}
	return into, nil
}
