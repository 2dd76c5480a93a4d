package core

import "testing"

func TestHeaderNamed(t *testing.T) {
	headers := []Header{{Key: "a", Value: []byte("1")}, {Key: "", Value: []byte("none")}, {Key: "b"},
		{Key: "a", Value: []byte("2")}, {Key: "abc", Value: []byte("3")}}
	record := make([]byte, 512)
	size, err := EncodedRecordSize(nil, nil, headers)
	if err != nil {
		t.Fatal(err)
	}
	PutRecord(record[:size], nil, nil, headers, 0, 0)
	r, _, err := DecodeRecord(record[:size])
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, want string
		found      bool
	}{{"a", "1", true}, {"", "none", true}, {"b", "", true}, {"abc", "3", true}, {"ab", "", false}, {"A", "",
		false}}
	for _, tt := range tests {
		if got, found := HeaderNamed(r.RawHeaders, tt.name); string(got) != tt.want || found != tt.found {
			t.Errorf("HeaderNamed(%q) = %q, %v; want %q, %v", tt.name, got, found, tt.want, tt.found)
		}
	}
	// Cut anywhere, it finds what is whole and nothing else.
	for n := range r.RawHeaders {
		if got, found := HeaderNamed(r.RawHeaders[:n], "abc"); found {
			t.Errorf("cut to %d bytes: found %q", n, got)
		}
		if got, found := HeaderNamed(r.RawHeaders[:n], "a"); found != (n >= 8) || found && string(got) != "1" {
			t.Errorf("cut to %d bytes: found %q, %v", n, got, found)
		}
	}
}
