package wire

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/leatbus/leat/core"
)

// sampleCatalogue has a record of each shape, the largest there can be among them.
func sampleCatalogue() []core.CatalogueRecord {
	cfg := core.TopicConfig{Partitions: core.MaxPartitions}.WithDefaults()
	return []core.CatalogueRecord{
		{Kind: core.CatalogueMark, ID: 18, Version: 3},
		{Kind: core.CatalogueCreated, ID: 16, Version: 1, Name: strings.Repeat("n", core.MaxNameBytes), Config: cfg,
			Placement: core.Place([]uint16{1, 2, 3}, core.MaxPartitions, 0)},
		{Kind: core.CatalogueDeleted, ID: 16},
	}
}

func TestCatalogue(t *testing.T) {
	var payload []byte
	want := sampleCatalogue()
	for i := range want {
		payload = AppendCatalogue(payload, &want[i])
	}
	got, err := DecodeCatalogue(payload, nil)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("decoded %+v, %v", got, err)
	}
	small := AppendCatalogue(nil, &want[2])
	for n := range small {
		if _, err := DecodeCatalogue(small[:n], nil); !errors.Is(err, core.ErrProtocol) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	for what, payload := range map[string][]byte{
		"a length beyond the end": {255, 0, 0, 0, 1}, "a huge length": {255, 255, 255, 255, 1},
		"bytes behind the last": append(bytes.Clone(small), 0),
	} {
		if _, err := DecodeCatalogue(payload, nil); !errors.Is(err, core.ErrProtocol) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := DecodeCatalogue([]byte{1, 0, 0, 0, 9}, nil); !errors.Is(err, core.ErrVersionTooNew) {
		t.Errorf("a record of a newer version: %v", err)
	}
}

// FuzzCatalogue: no payload panics, and what decodes encodes to the same bytes.
func FuzzCatalogue(f *testing.F) {
	var payload []byte
	for _, r := range sampleCatalogue() {
		one := AppendCatalogue(nil, &r)
		if len(one) < 1<<10 {
			f.Add(one)
			payload = append(payload, one...)
		}
	}
	f.Add(payload)
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		records, err := DecodeCatalogue(payload, nil)
		if err != nil {
			return
		}
		var again []byte
		for i := range records {
			again = AppendCatalogue(again, &records[i])
		}
		if !bytes.Equal(again, payload) {
			t.Fatalf("encoded again: %x, want %x", again, payload)
		}
	})
}
