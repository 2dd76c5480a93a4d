package main

import (
	"fmt"
	"io"
)

// liveLine shows figures of a run on standard error. On a terminal it redraws one line; elsewhere it
// writes a line every few seconds, and with -o json nothing. It belongs to one goroutine.
type liveLine struct {
	w        io.Writer
	terminal bool
	silent   bool
	every    int // outside a terminal: one line per so many updates
	updates  int
}

// newLiveLine expects at most four updates a second.
func newLiveLine(a *app) *liveLine {
	terminal := a.stderrTerminal
	return &liveLine{w: a.stderr, terminal: terminal, silent: a.output != formatTable && !terminal, every: 12}
}

// Show replaces the line.
func (l *liveLine) Show(text string) {
	l.updates++
	switch {
	case l.silent:
	case l.terminal:
		fmt.Fprintf(l.w, "\r\x1b[K%s", text)
	case l.updates%l.every == 0:
		fmt.Fprintln(l.w, text)
	}
}

// Done clears the line for what follows.
func (l *liveLine) Done() {
	if l.terminal && l.updates > 0 {
		fmt.Fprint(l.w, "\r\x1b[K")
	}
}
