package core

import (
	"strings"
	"testing"
)

// TestOwnHeaders: what users may not set is refused where a message is given, and where a frame comes.
func TestOwnHeaders(t *testing.T) {
	for _, tt := range []struct {
		topic string
		name  string
		want  Code
	}{
		{"t", "trace", 0}, {"t", "", 0}, {"t", "leat", 0}, {"t", "Leat-id", 0}, {"t", "xleat-", 0},
		{"t", "leat-", CodeInvalidRecord}, {"t", "leat-id", CodeInvalidRecord},
		{"t", "leat-dlq-topic", CodeInvalidRecord}, {"t", "leat-new", CodeInvalidRecord},
		{"t.dlq.g", "leat-dlq-topic", 0}, {"t.dlq.g", "leat-id", CodeInvalidRecord},
		{".dlq.g", "leat-dlq-topic", CodeInvalidRecord}, {"t.dlq.", "leat-dlq-topic", CodeInvalidRecord},
	} {
		headers := []Header{{"first", []byte("1")}, {tt.name, []byte("leat-")}, {"last", nil}}
		err := CheckHeaders(tt.topic, headers)
		wantCode(t, tt.topic+" "+tt.name, err, tt.want)
		if err != nil && !strings.Contains(err.Error()+HintFor(err), Quote(tt.name)+" (LEAT-2005)leave") {
			t.Errorf("%v; hint %q", err, HintFor(err))
		}
		for _, id := range []string{"", "order-4711"} {
			size, err := ExtendedRecordSize(1, 1, headers, Extras{ID: id})
			if err != nil {
				t.Fatal(err)
			}
			record := make([]byte, size)
			PutExtendedRecord(record, []byte("k"), []byte("v"), headers, keyHash(&Record{Key: []byte("k")}), 0,
				Extras{ID: id})
			h, payload := producedFrame(t, sampleRecords(t)[0], record)
			err = CheckProduced(&h, payload, DefaultRecordBytes, TakesLetters(tt.topic))
			wantCode(t, tt.topic+" "+tt.name+" in a frame, id "+Quote(id), err, tt.want)
			if err != nil && !strings.Contains(err.Error(), Quote(tt.name)) {
				t.Errorf("a frame: %v", err)
			}
		}
	}
}
