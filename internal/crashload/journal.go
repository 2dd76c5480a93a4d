package crashload

import (
	"encoding/binary"
	"os"
	"sync"
)

// The words of a journal, 8 bytes each. A reader sees them in this order, so that what is promised is never
// newer than what it rests on.
const (
	wordDurable     = iota // generation << 40 | first offset not reported durable
	wordPublished          // generation << 40 | first offset not published
	wordAdded              // generation << 40 | first offset that is not even being added
	wordStart              // the highest offset below which records may have been trimmed
	wordPoint              // failpoints passed << 8 | number of the last one, from 1
	wordGenerations        // how many there are
	wordFenced             // 1 after the log was fenced
	wordSyncs              // calls that sync, after the first one that failed
	wordCutting            // 1 + the offset from which records are being dropped; 0 while none are
	wordPoints             // how often each failpoint was passed, in the order of mmaplog.Points
	words           = wordPoints + 24
)

const (
	basesAt = 8 * words // where the journal lists the first offset of each generation
	endBits = 40
)

// Journal is the file in which a load notes its progress. Its writes are system calls to a page of memory
// that outlives the process.
type Journal struct {
	file *os.File
	mu   sync.Mutex // orders the writes of goroutines
}

// OpenJournal opens or creates a journal. It must not lie on the disk whose power is cut.
func OpenJournal(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	return &Journal{file: f}, err
}

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }

func (j *Journal) set(word int, value uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.write(int64(8*word), value)
}

func (j *Journal) write(at int64, value uint64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], value)
	_, err := j.file.WriteAt(b[:], at)
	return err
}

// begin notes that a generation begins at offset base, and gives its number.
func (j *Journal) begin(base int64) (generation int, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p, err := j.progress()
	if err != nil {
		return 0, err
	}
	generation = int(p[wordGenerations])
	if err := j.write(basesAt+8*int64(generation), uint64(base)); err != nil {
		return 0, err
	}
	return generation, j.write(8*wordGenerations, uint64(generation+1))
}

// Progress is a moment of a journal.
type Progress [words]uint64

// Progress reads the journal, in one system call.
func (j *Journal) Progress() (Progress, error) {
	return j.progress()
}

func (j *Journal) progress() (p Progress, err error) {
	var b [8 * words]byte
	if _, err = j.file.ReadAt(b[:], 0); err != nil && !isEOF(err) {
		return p, err
	}
	for i := range p {
		p[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return p, nil
}

// Passed is how often each failpoint was passed, in the order of mmaplog.Points.
func (p *Progress) Passed() []uint64 { return p[wordPoints:] }

// Fenced reports whether the log was fenced, and how often a file was synced again that failed to sync.
func (p *Progress) Fenced() (fenced bool, syncs int) {
	return p[wordFenced] > 0, int(p[wordSyncs])
}

// Durable is the first offset that was not reported durable; Published the first one not published.
func (p *Progress) Durable() int64 { return int64(p[wordDurable] & (1<<endBits - 1)) }

// Published is the first offset that was not published.
func (p *Progress) Published() int64 { return int64(p[wordPublished] & (1<<endBits - 1)) }

// Cutting reports whether records were being dropped from the end.
func (p *Progress) Cutting() bool { return p[wordCutting] > 0 }

// Witness is what a log must hold, and may hold, after an interruption.
type Witness struct {
	Must  int64   // the records below it are there
	Max   int64   // none from it on is
	Start int64   // none from it on was trimmed
	bases []int64 // first offset of each generation
}

// AfterCut gives what must survive a power cut at the moment p: what was reported durable.
func (j *Journal) AfterCut(p *Progress) (Witness, error) { return j.witness(p, p[wordDurable]) }

// AfterKill gives what must survive the end of the process at the moment p: what was published.
func (j *Journal) AfterKill(p *Progress) (Witness, error) { return j.witness(p, p[wordPublished]) }

func (j *Journal) witness(p *Progress, promised uint64) (Witness, error) {
	w := Witness{
		Must: int64(promised & (1<<endBits - 1)), Max: int64(p[wordAdded] & (1<<endBits - 1)),
		Start: int64(p[wordStart]),
	}
	b := make([]byte, 8*p[wordGenerations])
	if _, err := j.file.ReadAt(b, basesAt); err != nil && !isEOF(err) {
		return w, err
	}
	for i := 0; i < len(b); i += 8 {
		w.bases = append(w.bases, int64(binary.LittleEndian.Uint64(b[i:])))
	}
	// A promise of a generation before holds as far as none of the later ones took its place.
	for _, base := range w.bases[min(int(promised>>endBits)+1, len(w.bases)):] {
		w.Must = min(w.Must, base)
	}
	if cutting := int64(p[wordCutting]); cutting > 0 { // all of them, or the end is there
		w.Must = min(w.Must, cutting-1)
	}
	w.Max = max(w.Max, w.Must)
	return w, nil
}

// generation is the one that wrote an offset last.
func (w *Witness) generation(offset int64) int {
	for i := len(w.bases) - 1; i >= 0; i-- {
		if w.bases[i] <= offset {
			return i
		}
	}
	return 0
}

// Adopt notes what Verify appended, so that the next load of the same log may go on behind it.
func (j *Journal) Adopt(f Found) error {
	generation, err := j.begin(f.End)
	if err != nil {
		return err
	}
	for _, word := range []int{wordAdded, wordPublished, wordDurable} {
		if err := j.set(word, uint64(generation)<<endBits|uint64(f.End+someRecords)); err != nil {
			return err
		}
	}
	return j.set(wordCutting, 0)
}
