package plot

import (
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/leatbus/leat/internal/benchkit"
)

// Sizes in points.
const (
	width      = vg.Length(720)
	footSize   = vg.Length(8)
	footLines  = 3
	footHeight = footLines*footSize*1.3 + 8
	margin     = vg.Length(10)
)

// Colours of the roles; they differ in brightness too.
var (
	oursColour  = color.RGBA{R: 0x0b, G: 0x5c, B: 0xad, A: 0xff}
	peerColour  = color.RGBA{R: 0xe0, G: 0x8a, B: 0x1e, A: 0xff}
	floorColour = color.RGBA{R: 0x8a, G: 0x8f, B: 0x98, A: 0xff}
	lineColour  = color.RGBA{R: 0x22, G: 0x22, B: 0x22, A: 0xff}
	gridColour  = color.RGBA{R: 0xe3, G: 0xe5, B: 0xe8, A: 0xff}
)

func colourOf(role benchkit.Role) color.Color {
	switch role {
	case benchkit.Ours:
		return oursColour
	case benchkit.Peer:
		return peerColour
	default:
		return floorColour
	}
}

// picture is a plot with what it has to say about itself.
type picture struct {
	name   string // of the file, without its end
	plot   *plot.Plot
	height vg.Length
	foot   []string
}

// Write draws every scenario of a report into dir, as SVG and PNG, and gives the names of the files. dir is
// made if it is not there.
func Write(dir string, r *benchkit.Report) (files []string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("plot: make the folder: %w", err)
	}
	for _, rows := range scenarios(r) {
		pictures := []*picture{bars(r, rows)}
		if curves := curves(r, rows); curves != nil {
			pictures = append(pictures, curves)
		}
		for _, p := range pictures {
			for _, format := range []string{"svg", "png"} {
				file := p.name + "." + format
				if err := p.write(filepath.Join(dir, file), format); err != nil {
					return files, fmt.Errorf("plot: draw %s: %w", file, err)
				}
				files = append(files, file)
			}
		}
	}
	return files, nil
}

// scenarios splits the rows of the cases of a suite. Further figures of a case have another unit than the
// first row of their scenario, or none of the cases' fields, and are left out.
func scenarios(r *benchkit.Report) (all [][]*benchkit.Row) {
	for i := range r.Rows {
		row := &r.Rows[i]
		last := len(all) - 1
		switch {
		case row.Scenario == "":
		case last < 0 || all[last][0].Scenario != row.Scenario:
			all = append(all, []*benchkit.Row{row})
		case row.Unit == all[last][0].Unit:
			all[last] = append(all[last], row)
		}
	}
	return all
}

func init() { plot.DefaultFont.Variant = "Sans" }

// newPicture sets a plot up.
func newPicture(r *benchkit.Report, rows []*benchkit.Row, kind string) *picture {
	p := plot.New()
	first := rows[0]
	p.Title.Text = fmt.Sprintf("%s: %s", r.Scenario, first.Scenario)
	if first.About != "" {
		p.Title.Text += "\n" + first.About
	}
	if first.Oversubscribed {
		p.Title.Text += "\n† more busy threads than processors"
	}
	p.Title.TextStyle.Font.Size = 12
	p.Title.Padding = 8
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font.Size = 10
		axis.Tick.Label.Font.Size = 9
	}
	name := fmt.Sprintf("%s-%s-%s", r.Scenario, first.Scenario, kind)
	return &picture{name: strings.ReplaceAll(name, "/", "-"), plot: p, foot: foot(r)}
}

// foot is what a picture says about where it comes from.
func foot(r *benchkit.Report) []string {
	commit := r.Env.Commit
	if commit == "" {
		commit = "unknown commit"
	}
	state := ""
	switch {
	case !r.Valid:
		state = "INVALID RUN · "
	case r.Guard != nil && !r.Guard.On:
		state = "UNGUARDED RUN · "
	}
	return []string{
		fmt.Sprintf("%scommit %s · %s", state, commit, r.Time),
		fmt.Sprintf("%s, %d processors, %s/%s %s, %s", r.Env.CPU, r.Env.Cores, r.Env.OS, r.Env.Arch, r.Env.Kernel,
			r.Env.Go),
		r.Command,
	}
}

// write draws into a file.
func (p *picture) write(path, format string) (err error) {
	canvas, err := draw.NewFormattedCanvas(width, p.height+footHeight, format)
	if err != nil {
		return err
	}
	whole := draw.New(canvas)
	whole.SetColor(color.White)
	whole.Fill(whole.Rectangle.Path())
	p.plot.Draw(draw.Crop(whole, margin, -margin, footHeight, -margin))
	style := p.plot.Legend.TextStyle
	style.Font.Size, style.Color = footSize, color.Gray{Y: 0x55}
	for i, line := range p.foot {
		at := vg.Point{X: margin, Y: footHeight - 4 - footSize*1.3*vg.Length(i+1)}
		whole.FillText(style, at, line)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := canvas.WriteTo(file); err != nil {
		_ = file.Close() // the first error says more
		return err
	}
	return file.Close()
}
