package app

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"

	"github.com/pollackq/pollack/jobqueue"
)

const (
	maxPixels = 40_000_000
	quality   = 80 // of JPEG, of 100
)

// smallerJPEG encodes a photo anew. How it is to be turned and which colours are meant (Exif, ICC profile) is kept.
func smallerJPEG(ctx context.Context, in []byte) ([]byte, error) {
	m, err := decode(ctx, in, jpeg.DecodeConfig, jpeg.Decode)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&writer{ctx, &out}, m, &jpeg.Options{Quality: quality}); err != nil {
		return nil, err
	}
	_, isCMYK := m.(*image.CMYK) // is encoded as other colours, which its profile is not for
	const soi = 2                // bytes of the marker that an image starts with
	p := out.Bytes()
	return bytes.Join([][]byte{p[:soi], jpegMetadata(in, !isCMYK), p[soi:]}, nil), nil
}

// jpegMetadata returns the segments with Exif data and the ICC profile.
func jpegMetadata(in []byte, profile bool) (kept []byte) {
	for p := in[2:]; len(p) >= 4 && p[0] == 0xff && p[1] != 0xda; { // up to the start of scan
		if p[1] == 0xff { // any number of them may stand before a marker
			p = p[1:]
			continue
		}
		n := 2 + int(binary.BigEndian.Uint16(p[2:]))
		if n < 4 || n > len(p) { // the length counts itself
			break
		}
		segment := p[:n]
		if p[1] == 0xe1 && bytes.HasPrefix(segment[4:], []byte("Exif\x00")) ||
			p[1] == 0xe2 && profile && bytes.HasPrefix(segment[4:], []byte("ICC_PROFILE\x00")) {
			kept = append(kept, segment...)
		}
		p = p[n:]
	}
	return kept
}

// smallerPNG encodes a picture anew, with the same pixels. What its colours mean and how it is to be turned is kept. An animation is returned as it is: only
// its first frame would be left.
func smallerPNG(ctx context.Context, in []byte) ([]byte, error) {
	metadata, animated := pngMetadata(in)
	if animated {
		return in, nil
	}
	m, err := decode(ctx, in, png.DecodeConfig, png.Decode)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&writer{ctx, &out}, m); err != nil {
		return nil, err
	}
	const head = 8 + 4 + 4 + 13 + 4 // bytes of the signature and the first chunk, IHDR
	p := out.Bytes()
	return bytes.Join([][]byte{p[:head], metadata, p[head:]}, nil), nil
}

// pngMetadata returns the chunks that say what the pixels mean, and whether there is more than one frame.
func pngMetadata(in []byte) (kept []byte, animated bool) {
	const signature = 8
	for p := in[min(signature, len(in)):]; len(p) >= 12; {
		n := 12 + int64(binary.BigEndian.Uint32(p))
		if n > int64(len(p)) {
			break
		}
		switch string(p[4:8]) {
		case "acTL":
			return nil, true
		case "gAMA", "cHRM", "sRGB", "iCCP", "cICP", "pHYs", "eXIf":
			kept = append(kept, p[:n]...)
		case "IDAT":
			return kept, false // eXIf may stand behind it, but hardly does
		}
		p = p[n:]
	}
	return kept, false
}

// decode reads an image that is not too large to be held in memory.
func decode(
	ctx context.Context, in []byte, config func(io.Reader) (image.Config, error), decode func(io.Reader) (image.Image, error),
) (image.Image, error) {
	c, err := config(bytes.NewReader(in))
	if err != nil {
		return nil, damaged(err)
	}
	if c.Width <= 0 || c.Height <= 0 {
		return nil, damaged(errors.New("the image has no pixels"))
	}
	if int64(c.Width)*int64(c.Height) > maxPixels {
		return nil, jobqueue.Permanent("too_many_pixels",
			fmt.Errorf("the image has %d x %d pixels; at most %d million are allowed", c.Width, c.Height, maxPixels/1_000_000))
	}
	m, err := decode(&reader{ctx, bytes.NewReader(in)})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, damaged(err)
	}
	return m, nil
}

func damaged(err error) error {
	return jobqueue.Permanent("damaged_image", fmt.Errorf("the image is damaged or of a kind that cannot be read: %w", err))
}
