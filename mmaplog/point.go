package mmaplog

// pointNames are the failpoints: moments at which what is on the disk is between two states, so that a test
// may want to kill the process or cut the power there.
var pointNames = [...]string{
	"roll.before",        // the writer leaves a full segment
	"roll.adopted",       // the next segment has its header and its name
	"seal.before-footer", // a segment that was left is durable, its index and footer are not written
	"seal.after-footer",  // they are
	"manifest.before-write",
	"manifest.before-sync",
	"manifest.rewrite",    // the new manifest is durable beside the old one
	"state.before-rename", // the new state is durable beside the old one
	"state.after-rename",  // and has its name, but the folder is not synced
	"truncate.after-edit", // the manifest says where the log ends, the frames behind it are still there
	"truncate.after-zero",
	"recycle.before-rename", // the drop of a segment is durable, the segment has its name still
	"recycle.after-rename",
	"trim.before-unlink",
	"compact.before-rename", // the compacted segment is durable beside the old one
	"compact.after-rename",
	"sync.before", // a round begins
	"sync.after",  // it has synced, and told nobody
}

// Points lists the names that Options.Point is called with.
func Points() []string { return append([]string(nil), pointNames[:]...) }

// point tells a test that the store is at a failpoint. It is never called per record.
func (s *Store) point(name string) {
	if s.opts.Point != nil {
		s.opts.Point(name)
	}
}
