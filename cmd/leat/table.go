package main

import (
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	pretty "github.com/jedib0t/go-pretty/v6/text"
)

// grid is a table for people: columns are aligned, nothing is drawn between them, and what comes from
// outside is escaped.
type grid struct{ writer table.Writer }

// newGrid takes the names of the columns; numbers, whose names begin with #, are aligned to the right.
func newGrid(w io.Writer, columns ...string) *grid {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	header := make(table.Row, len(columns))
	configs := make([]table.ColumnConfig, len(columns))
	for i, name := range columns {
		align := pretty.AlignLeft
		if number, ok := strings.CutPrefix(name, "#"); ok {
			name, align = number, pretty.AlignRight
		}
		header[i] = name
		configs[i] = table.ColumnConfig{Number: i + 1, Align: align, AlignHeader: align}
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(configs)
	t.SuppressTrailingSpaces()
	return &grid{writer: t}
}

func (g *grid) row(cells ...string) {
	row := make(table.Row, len(cells))
	for i, cell := range cells {
		row[i] = printable(cell)
	}
	g.writer.AppendRow(row)
}

func (g *grid) flush() error {
	g.writer.Render()
	return nil
}
