package app

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/jpeg"
	"image/png"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzImage looks for a file that panics where metadata is read out of it, or of which a smaller image is made that is none, or has other
// measures. Small images only: of large ones the bound is tested elsewhere.
func FuzzImage(f *testing.F) {
	var photo, picture bytes.Buffer
	m := image.NewNRGBA(image.Rect(0, 0, 3, 2))
	if err := jpeg.Encode(&photo, m, nil); err != nil {
		f.Fatal(err)
	}
	if err := png.Encode(&picture, m); err != nil {
		f.Fatal(err)
	}
	segment := func(kind byte, text string) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{0xff, kind}, uint16(2+len(text))), text...)
	}
	with := func(p []byte, at int, parts ...[]byte) []byte {
		return bytes.Join([][]byte{p[:at], bytes.Join(parts, nil), p[at:]}, nil)
	}
	f.Add(photo.Bytes())
	f.Add(picture.Bytes())
	f.Add(with(photo.Bytes(), 2, segment(0xe1, "Exif\x00\x00x"), segment(0xe2, "ICC_PROFILE\x00x")))
	f.Add(with(photo.Bytes(), 2, []byte{0xff}, segment(0xe1, "Exif\x00")))
	f.Add([]byte{0xff, 0xd8, 0xff, 0xe1, 0, 0})
	// A fill byte shifts what is read by one, to a length that leads into what the file's author chose.
	f.Add(with(photo.Bytes(), 2, []byte{0xff}, segment(0xe1, strings.Repeat("\xff\xe1\x00\x00", 15_000))))
	f.Add(append([]byte("\x89PNG\r\n\x1a\n"), "\xff\xff\xff\xffeXIf\x00\x00\x00\x00"...))
	f.Add(with(picture.Bytes(), 33, []byte("\x00\x00\x00\x01gAMAx\x00\x00\x00\x00")))
	f.Fuzz(func(t *testing.T, in []byte) {
		if c, _, err := image.DecodeConfig(bytes.NewReader(in)); err == nil && c.Width*c.Height > 1<<16 {
			return
		}
		if len(in) >= 2 {
			if kept := jpegMetadata(in, true); len(kept) > len(in) {
				t.Fatalf("got %d bytes out of %d", len(kept), len(in))
			}
		}
		if kept, _ := pngMetadata(in); len(kept) > len(in) {
			t.Fatalf("got %d bytes out of %d", len(kept), len(in))
		}
		before, _, err := image.DecodeConfig(bytes.NewReader(in))
		if err != nil {
			return
		}
		smaller := smallerPNG
		if bytes.HasPrefix(in, []byte{0xff, 0xd8}) {
			smaller = smallerJPEG
		}
		out, err := smaller(t.Context(), in)
		if err != nil {
			return
		}
		after, _, err := image.DecodeConfig(bytes.NewReader(out))
		if err != nil || after.Width != before.Width || after.Height != before.Height {
			t.Fatalf("got an image of %dx%d, %v, want %dx%d", after.Width, after.Height, err, before.Width, before.Height)
		}
	})
}

// FuzzFileNames looks for a name, or an id, that leaves its place in a path (threat: Path traversal).
func FuzzFileNames(f *testing.F) {
	for _, s := range []string{
		"a.png", "../x", `..\x`, "...", "", "a\x00b", strings.Repeat("é", 300) + ".tar.gz", "\u202egpj.exe", "a.", "x." + strings.Repeat("y", 250), newID(), strings.ToUpper(newID()),
		"00000000-0000-0000-0000-000000000000", "0000000--0000-0000-0000-000000000000", "00000000-0000-0000-0000-00000000000g", "\xff",
	} {
		f.Add(s, []byte("\x89PNG"))
	}
	id := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	f.Fuzz(func(t *testing.T, s string, content []byte) {
		if got := isID(s); got != id.MatchString(s) {
			t.Fatalf("%q: got an id: %v", s, got)
		}
		name := fileName(s)
		if len(name) > maxFileName || !utf8.ValidString(name) || strings.ContainsAny(name, "/\\\x00") || name != "" && strings.Trim(name, ". ") == "" {
			t.Fatalf("%q: got %q", s, name)
		}
		if k := kindOf(s, content); k.mime == "" || k.class == "" || k.format == "" {
			t.Fatalf("%q: got %+v", s, k)
		}
	})
}
