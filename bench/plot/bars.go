package plot

import (
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/leatbus/leat/internal/benchkit"
)

const (
	barHeight = vg.Length(16)
	barRoom   = vg.Length(30) // of one bar with the gap to the next
	barFrame  = vg.Length(120)
)

// bars draws the medians of the cases of a scenario, the first at the top.
func bars(r *benchkit.Report, rows []*benchkit.Row) *picture {
	p := newPicture(r, rows, "bars")
	highest := 0.0
	for _, row := range rows {
		highest = max(highest, row.Value, row.Interval.Hi)
	}
	scale := scaleOf(rows[0], highest)
	p.plot.X.Label.Text = scale.label
	if at := slices.IndexFunc(rows, hasFloor); at >= 0 {
		p.plot.X.Label.Text += "; dotted: " + rows[at].Floor
	}
	p.plot.X.Min, p.plot.X.Max = 0, highest/scale.unit*1.15
	p.plot.Y.Min, p.plot.Y.Max = -0.6, float64(len(rows))-0.4
	names := make([]string, len(rows))
	for i, row := range rows {
		names[len(rows)-1-i] = row.Name
	}
	p.plot.NominalY(names...)
	grid := plotter.NewGrid()
	grid.Horizontal.Width = 0
	grid.Vertical.Color = gridColour
	p.plot.Add(grid, &barChart{rows: rows, scale: scale})
	p.height = barFrame + barRoom*vg.Length(len(rows)) + vg.Length(14*strings.Count(p.plot.Title.Text, "\n"))
	return p
}

// barChart draws bars, whiskers, values and the line of the baseline.
type barChart struct {
	rows  []*benchkit.Row
	scale scale
}

// Plot implements plot.Plotter.
func (b *barChart) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	label := p.X.Tick.Label
	label.Color, label.XAlign, label.YAlign = lineColour, draw.XLeft, draw.YCenter
	for i, row := range b.rows {
		y := toY(float64(len(b.rows) - 1 - i))
		end := toX(row.Value / b.scale.unit)
		c.FillPolygon(colourOf(row.Role), []vg.Point{
			{X: toX(0), Y: y - barHeight/2}, {X: end, Y: y - barHeight/2},
			{X: end, Y: y + barHeight/2}, {X: toX(0), Y: y + barHeight/2},
		})
		if len(row.Rounds) > 1 {
			lo, hi := toX(row.Interval.Lo/b.scale.unit), toX(row.Interval.Hi/b.scale.unit)
			whisker(&c, lo, hi, y)
			end = max(end, hi)
		}
		c.FillText(label, vg.Point{X: end + 5, Y: y}, b.scale.text(row.Value))
	}
	if value, ok := b.baseline(); ok {
		x := toX(value / b.scale.unit)
		style := draw.LineStyle{Color: lineColour, Width: 1, Dashes: []vg.Length{2, 3}}
		c.StrokeLine2(style, x, c.Min.Y, x, c.Max.Y)
	}
}

// baseline is the value that ratios are taken to.
func (b *barChart) baseline() (float64, bool) {
	at := slices.IndexFunc(b.rows, hasFloor)
	if at < 0 {
		return 0, false
	}
	return b.rows[at].FloorValue, true
}

func hasFloor(row *benchkit.Row) bool { return row.Floor != "" }

func whisker(c *draw.Canvas, lo, hi, y vg.Length) {
	style := draw.LineStyle{Color: color.Black, Width: 1}
	const cap = barHeight / 4
	c.StrokeLine2(style, lo, y, hi, y)
	c.StrokeLine2(style, lo, y-cap, lo, y+cap)
	c.StrokeLine2(style, hi, y-cap, hi, y+cap)
}
