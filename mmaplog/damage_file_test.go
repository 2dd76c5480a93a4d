package mmaplog

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"

	"github.com/leatbus/leat/core"
)

// TestDamageFile: what was noted is read back; a file that is not usable has all segments read.
func TestDamageFile(t *testing.T) {
	list := []noted{{segment: 7, position: 4096, from: 3, to: 9}, {segment: 8, from: 20, to: 20}}
	b := encodeDamage(16, 2, list)
	if got, err := decodeDamage(b, 16, 2); err != nil || !slices.Equal(got, list) {
		t.Fatalf("%+v, %v; want %+v", got, err, list)
	}
	if _, err := decodeDamage(b, 16, 3); core.CodeOf(err) != core.CodeCorrupt {
		t.Errorf("of another log: %v", err)
	}
	for bit := range len(b) * 8 {
		bad := bytes.Clone(b)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := decodeDamage(bad, 16, 2); err == nil {
			t.Fatalf("bit %d: not noticed", bit)
		}
	}

	l := newHurtLog(t, core.AckPage, false, 4, 4, 4)
	l.flip(2, 1, true)
	l.forget(true, true)
	s, log := l.open(SkipWithGap)
	want := log.Recovery().Damaged
	_ = s.Close()
	path := filepath.Join(l.dir, damageName)
	l.fs.put(path, []byte("no list"))
	for range 2 { // the second time it is as it was
		s, log = l.open(SkipWithGap)
		if got := log.Recovery().Damaged; !slices.Equal(got, want) {
			t.Fatalf("without what was noted: %+v, want %+v", got, want)
		}
		_ = s.Close()
	}
}

// TestDamageRepaired: when a good copy of the file is back, the log opens as if nothing had been, and what
// was noted is forgotten.
func TestDamageRepaired(t *testing.T) {
	for _, segment := range []int{0, 1, 2} {
		l := newHurtLog(t, core.AckPage, false, 4, 4, 4)
		good := l.fs.content(l.paths[segment])
		l.flip(segment, 1, true)
		l.forget(true, true)
		s := l.store()
		log, err := l.tryOpen(s, Fail)
		if (err != nil) != (segment == 2) {
			t.Fatalf("segment %d: %v", segment, err) // others are not read when the log is opened
		}
		if err == nil {
			l.wantServed(log, []Damaged{{From: int64(4*segment + 1), To: int64(4*segment + 2),
				Segment: l.paths[segment], Position: int64(l.frames[segment][1][0]), Reason: metReason(t, log)}})
		}
		_ = s.Close()
		s, log = l.open(SkipWithGap)
		appendValues(t, log, "more")
		l.values = append(l.values, "more")
		_ = s.Close()
		l.fs.put(l.paths[segment], good)
		s, log = l.open(Fail)
		l.wantServed(log, nil)
		if _, there, err := log.readDamage(); there || err != nil {
			t.Fatalf("segment %d: what was noted is still there: %v", segment, err)
		}
		_ = s.Close()
	}
}

// metReason is what a reader says of the first damage.
func metReason(t *testing.T, l *Log) string {
	_, met := readAround(t, l, false)
	if len(met) != 1 {
		t.Fatalf("met %+v", met)
	}
	return met[0].Reason
}

// TestDamageTrimmed: when the damaged segment is trimmed, the log is sound again.
func TestDamageTrimmed(t *testing.T) {
	l := newHurtLog(t, core.AckDisk, false, 4, 4, 4)
	l.flip(2, 1, true)
	l.forget(true, false)
	s, log := l.open(SkipWithGap)
	appendValues(t, log, "a", "b")
	syncNow(log)
	if err := log.TrimTo(12); err != nil {
		t.Fatal(err)
	}
	drainJanitor(s)
	_ = s.Close()
	s, log = l.open(Fail)
	defer s.Close()
	if log.Start() != 12 || log.End() != 14 || log.Recovery().Damaged != nil {
		t.Fatalf("[%d, %d): %+v", log.Start(), log.End(), log.Recovery())
	}
}

// FuzzDamageFile: no input makes the decoder panic, and what it accepts encodes to the same bytes.
func FuzzDamageFile(f *testing.F) {
	f.Add(encodeDamage(1, 0, nil))
	f.Add(encodeDamage(1, 0, []noted{{segment: 1, position: 8, from: 2, to: 3}}))
	f.Fuzz(func(t *testing.T, input []byte) {
		for _, src := range [][]byte{input, sealedDamage(input)} {
			list, err := decodeDamage(src, 1, 0)
			if err == nil && !bytes.Equal(encodeDamage(1, 0, list), src) && src[8] == damageVersion {
				t.Fatalf("%x decodes to %+v, which is %x", src, list, encodeDamage(1, 0, list))
			}
		}
	})
}

// sealedDamage is the input with a right magic and checksum, so that the fuzzer gets to what is behind.
func sealedDamage(input []byte) []byte {
	b := append([]byte(damageMagic), input...)
	if len(b) < damageHead {
		return b
	}
	crc := damageCRC(b)
	b[12], b[13], b[14], b[15] = byte(crc), byte(crc>>8), byte(crc>>16), byte(crc>>24)
	return b
}
