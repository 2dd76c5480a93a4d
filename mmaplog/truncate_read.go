package mmaplog

// cutAway reports whether the log was truncated to before the cursor since the last call of Next.
func (r *Reader) cutAway() bool {
	if !r.cutChanged() {
		return false
	}
	cuts, away := r.log.cuts.Load(), false
	for _, from := range (*cuts)[r.cuts:] {
		away = away || r.offset > from
	}
	r.letGo()
	r.seg, r.wanted, r.cuts = nil, 0, len(*cuts)
	return away
}

// cutChanged reports whether the log was truncated since the last call of Next.
func (r *Reader) cutChanged() bool { return r.log.cutCount() != r.cuts }

// cutCount is how often the log was truncated since it was opened.
func (l *Log) cutCount() int {
	if cuts := l.cuts.Load(); cuts != nil {
		return len(*cuts)
	}
	return 0
}
