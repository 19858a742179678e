package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	_ "image/gif" // read
	"image/jpeg"
	"image/png"
	"slices"
)

const generate = "generate"

// operations are the endpoints that make images.
var operations = []string{"edit", generate, "enhance", "remix"}

// maxPixels bounds the images that are read and made. One of that size takes some 600 MB while it is worked on.
const maxPixels = 40_000_000

// errTooManyPixels says so of an image.
var errTooManyPixels = fmt.Errorf("the image has more than %d pixels", maxPixels)

// measure returns the format of an image that may be decoded: PNG, JPEG or GIF, and not too large.
func measure(p []byte) (format string, err error) {
	c, format, err := image.DecodeConfig(bytes.NewReader(p))
	switch {
	case errors.Is(err, image.ErrFormat):
		return "", errors.New("is neither PNG nor JPEG nor GIF")
	case err != nil:
		return "", fmt.Errorf("cannot be read: %w", err)
	case c.Width < 1 || c.Height < 1:
		return "", errors.New("the image has no pixels")
	case c.Width > maxPixels/c.Height:
		return "", errTooManyPixels
	}
	return format, nil
}

// render makes the image of a task: JPEG of JPEG, otherwise PNG.
func render(ctx context.Context, t task) (p []byte, contentType string, err error) {
	img, format := (*image.NRGBA)(nil), "png"
	if t.Operation == generate {
		img = picture(t.Prompt)
	} else if img, format, err = read(t.Image); err != nil {
		return nil, "", err
	}
	steps, err := parse(t.Prompt)
	if err != nil {
		return nil, "", err
	}
	switch t.Operation {
	case "edit":
		if len(steps) == 0 { // the prompt says nothing that is known
			steps = []step{rotate(1)}
		}
	case "enhance":
		steps = slices.Concat([]step{stretch, sharpen}, steps)
	case "remix":
		steps = slices.Concat([]step{shuffle(t.Prompt), mirror}, steps)
	}
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
		if img, err = s(ctx, img); err != nil {
			return nil, "", err
		}
	}
	return write(img, format)
}

// read decodes an image into pixels that begin at 0, 0.
func read(p []byte) (*image.NRGBA, string, error) {
	format, err := measure(p)
	if err != nil {
		return nil, "", err
	}
	src, _, err := image.Decode(bytes.NewReader(p))
	if err != nil {
		return nil, "", fmt.Errorf("cannot be read: %w", err)
	}
	img := image.NewNRGBA(image.Rectangle{Max: src.Bounds().Size()})
	draw.Draw(img, img.Bounds(), src, src.Bounds().Min, draw.Src)
	return img, format, nil
}

// write encodes an image.
func write(img image.Image, format string) (p []byte, contentType string, err error) {
	var out limitedBuffer
	if format == "jpeg" {
		contentType, err = "image/jpeg", jpeg.Encode(&out, img, &jpeg.Options{Quality: 90})
	} else {
		contentType, err = "image/png", png.Encode(&out, img)
	}
	return out.Bytes(), contentType, err
}

// A limitedBuffer takes as much as a result may have.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxResult {
		return 0, fmt.Errorf("the image made of it has more than %d bytes", maxResult)
	}
	return b.Buffer.Write(p)
}
