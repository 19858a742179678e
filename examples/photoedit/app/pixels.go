package app

import (
	"context"
	"crypto/sha256"
	"image"
	"image/color"
	"math/rand/v2"
)

// eachRow calls fn for the rows of an image until ctx ends.
func eachRow(ctx context.Context, img *image.NRGBA, fn func(y int)) error {
	for y := range img.Rect.Dy() {
		if err := ctx.Err(); err != nil {
			return err
		}
		fn(y)
	}
	return nil
}

// redraw returns an image of a size whose pixels are those of img that from says.
func redraw(ctx context.Context, img *image.NRGBA, width, height int, from func(x, y int) (int, int)) (*image.NRGBA, error) {
	out := image.NewNRGBA(image.Rect(0, 0, width, height))
	return out, eachRow(ctx, out, func(y int) {
		for x := range width {
			sx, sy := from(x, y)
			copy(out.Pix[out.PixOffset(x, y):][:4], img.Pix[img.PixOffset(sx, sy):][:4])
		}
	})
}

// recolor changes the red, green and blue of each pixel.
func recolor(ctx context.Context, img *image.NRGBA, fn func(p []uint8)) (*image.NRGBA, error) {
	return img, eachRow(ctx, img, func(y int) {
		row := img.Pix[y*img.Stride:][:4*img.Rect.Dx()]
		for i := 0; i < len(row); i += 4 {
			fn(row[i : i+3])
		}
	})
}

func clamp(v int) uint8 { return uint8(min(max(v, 0), 255)) }

// rotate turns by quarters to the right.
func rotate(quarters int) step {
	return func(ctx context.Context, img *image.NRGBA) (*image.NRGBA, error) {
		w, h := img.Rect.Dx(), img.Rect.Dy()
		switch quarters {
		case 1:
			return redraw(ctx, img, h, w, func(x, y int) (int, int) { return y, h - 1 - x })
		case 2:
			return redraw(ctx, img, w, h, func(x, y int) (int, int) { return w - 1 - x, h - 1 - y })
		default:
			return redraw(ctx, img, h, w, func(x, y int) (int, int) { return w - 1 - y, x })
		}
	}
}

// mirror swaps left and right.
func mirror(ctx context.Context, img *image.NRGBA) (*image.NRGBA, error) {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	return redraw(ctx, img, w, h, func(x, y int) (int, int) { return w - 1 - x, y })
}

// flip swaps above and below.
func flip(ctx context.Context, img *image.NRGBA) (*image.NRGBA, error) {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	return redraw(ctx, img, w, h, func(x, y int) (int, int) { return x, h - 1 - y })
}

// resize takes the nearest pixel for each.
func resize(ctx context.Context, img *image.NRGBA, width, height int) (*image.NRGBA, error) {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	return redraw(ctx, img, width, height, func(x, y int) (int, int) { return (2*x + 1) * w / (2 * width), (2*y + 1) * h / (2 * height) })
}

// scale resizes by a factor.
func scale(times, by int) step {
	return func(ctx context.Context, img *image.NRGBA) (*image.NRGBA, error) {
		w, h := max(img.Rect.Dx()*times/by, 1), max(img.Rect.Dy()*times/by, 1)
		if w > maxPixels/h {
			return nil, errTooManyPixels
		}
		return resize(ctx, img, w, h)
	}
}

func gray(ctx context.Context, img *image.NRGBA) (*image.NRGBA, error) {
	return recolor(ctx, img, func(p []uint8) {
		v := clamp((299*int(p[0]) + 587*int(p[1]) + 114*int(p[2])) / 1000)
		p[0], p[1], p[2] = v, v, v
	})
}

func invert(ctx context.Context, img *image.NRGBA) (*image.NRGBA, error) {
	return recolor(ctx, img, func(p []uint8) { p[0], p[1], p[2] = 255-p[0], 255-p[1], 255-p[2] })
}

// shift makes brighter, or darker.
func shift(by int) step {
	return func(ctx context.Context, img *image.NRGBA) (*image.NRGBA, error) {
		return recolor(ctx, img, func(p []uint8) { p[0], p[1], p[2] = clamp(int(p[0])+by), clamp(int(p[1])+by), clamp(int(p[2])+by) })
	}
}

// stretch uses the whole range from black to white.
func stretch(ctx context.Context, img *image.NRGBA) (*image.NRGBA, error) {
	low, high := 255, 0
	if _, err := recolor(ctx, img, func(p []uint8) {
		for _, v := range p {
			low, high = min(low, int(v)), max(high, int(v))
		}
	}); err != nil || low >= high {
		return img, err
	}
	return recolor(ctx, img, func(p []uint8) {
		for i, v := range p {
			p[i] = uint8((int(v) - low) * 255 / (high - low))
		}
	})
}

// blur gives each pixel the mean of the nine around it.
func blur(ctx context.Context, img *image.NRGBA) (*image.NRGBA, error) {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	out := image.NewNRGBA(img.Rect)
	return out, eachRow(ctx, out, func(y int) {
		for x := range w {
			var sum [4]int
			n := 0
			for sy := max(y-1, 0); sy <= min(y+1, h-1); sy++ {
				for sx := max(x-1, 0); sx <= min(x+1, w-1); sx++ {
					for i, v := range img.Pix[img.PixOffset(sx, sy):][:4] {
						sum[i] += int(v)
					}
					n++
				}
			}
			for i, v := range sum {
				out.Pix[out.PixOffset(x, y)+i] = uint8(v / n)
			}
		}
	})
}

// sharpen doubles the difference to what is blurred.
func sharpen(ctx context.Context, img *image.NRGBA) (*image.NRGBA, error) {
	soft, err := blur(ctx, img)
	if err != nil {
		return nil, err
	}
	return img, eachRow(ctx, img, func(y int) {
		at := y * img.Stride
		for i := at; i < at+4*img.Rect.Dx(); i++ {
			if i%4 != 3 {
				img.Pix[i] = clamp(2*int(img.Pix[i]) - int(soft.Pix[i]))
			}
		}
	})
}

// shuffle swaps the colors around as a prompt says: every prompt otherwise, and the same one always so.
func shuffle(prompt string) step {
	perm := random(prompt).Perm(3)
	return func(ctx context.Context, img *image.NRGBA) (*image.NRGBA, error) {
		return recolor(ctx, img, func(p []uint8) {
			old := [3]uint8(p)
			p[0], p[1], p[2] = 255-old[perm[0]], old[perm[1]], old[perm[2]]
		})
	}
}

// picture draws what a prompt says, if in a way of its own: the same for the same prompt.
func picture(prompt string) *image.NRGBA {
	const size = 256
	r := random(prompt)
	img := image.NewNRGBA(image.Rect(0, 0, size, size))
	var waves [3][2]int
	for i := range waves {
		waves[i] = [2]int{r.IntN(7) + 1, r.IntN(7) + 1}
	}
	for y := range size {
		for x := range size {
			var v [3]uint8
			for i, w := range waves {
				v[i] = uint8(x*w[0] + y*w[1])
			}
			img.SetNRGBA(x, y, color.NRGBA{v[0], v[1], v[2], 255})
		}
	}
	for range 12 {
		fill := color.NRGBA{uint8(r.IntN(256)), uint8(r.IntN(256)), uint8(r.IntN(256)), 255}
		cx, cy, radius := r.IntN(size), r.IntN(size), r.IntN(40)+5
		for y := max(cy-radius, 0); y < min(cy+radius, size); y++ {
			for x := max(cx-radius, 0); x < min(cx+radius, size); x++ {
				if (x-cx)*(x-cx)+(y-cy)*(y-cy) < radius*radius {
					img.SetNRGBA(x, y, fill)
				}
			}
		}
	}
	return img
}

func random(prompt string) *rand.Rand {
	return rand.New(rand.NewChaCha8(sha256.Sum256([]byte(prompt))))
}
