package app

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A kind is what a file is.
type kind struct {
	mime, class, format string
	also                []string // other extensions than the format
}

func (k kind) isImage() bool { return k.mime == "image/jpeg" || k.mime == "image/png" }

var (
	gzipKind  = kind{mime: "application/gzip", class: "archive", format: "gz"}
	otherKind = kind{mime: "application/octet-stream", class: "other", format: "bin"}
)

// kinds are those that have names.
var kinds = []kind{
	{mime: "image/jpeg", class: "image", format: "jpg", also: []string{"jpeg", "jpe"}},
	{mime: "image/png", class: "image", format: "png"},
	{mime: "image/gif", class: "image", format: "gif"},
	{mime: "image/webp", class: "image", format: "webp"},
	{mime: "image/bmp", class: "image", format: "bmp"},
	{mime: "image/tiff", class: "image", format: "tiff", also: []string{"tif"}},
	{mime: "image/avif", class: "image", format: "avif"},
	{mime: "image/heic", class: "image", format: "heic", also: []string{"heif"}},
	{mime: "image/svg+xml", class: "image", format: "svg"},
	{mime: "image/x-icon", class: "image", format: "ico"},
	{mime: "video/mp4", class: "video", format: "mp4", also: []string{"m4v"}},
	{mime: "video/webm", class: "video", format: "webm"},
	{mime: "video/quicktime", class: "video", format: "mov"},
	{mime: "video/x-matroska", class: "video", format: "mkv"},
	{mime: "video/avi", class: "video", format: "avi"},
	{mime: "audio/mpeg", class: "audio", format: "mp3"},
	{mime: "audio/mp4", class: "audio", format: "m4a"},
	{mime: "audio/wave", class: "audio", format: "wav"},
	{mime: "audio/flac", class: "audio", format: "flac"},
	{mime: "application/ogg", class: "audio", format: "ogg"},
	{mime: "audio/midi", class: "audio", format: "mid"},
	{mime: "application/pdf", class: "document", format: "pdf"},
	{mime: "text/html", class: "document", format: "html", also: []string{"htm"}},
	{mime: "text/plain", class: "document", format: "txt", also: []string{"log"}},
	{mime: "text/csv", class: "document", format: "csv"},
	{mime: "text/markdown", class: "document", format: "md"},
	{mime: "text/css", class: "document", format: "css"},
	{mime: "text/javascript", class: "document", format: "js", also: []string{"mjs"}},
	{mime: "text/xml", class: "document", format: "xml"},
	{mime: "application/json", class: "document", format: "json"},
	{mime: "application/vnd.openxmlformats-officedocument.wordprocessingml.document", class: "document", format: "docx"},
	{mime: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", class: "document", format: "xlsx"},
	{mime: "application/vnd.openxmlformats-officedocument.presentationml.presentation", class: "document", format: "pptx"},
	{mime: "application/zip", class: "archive", format: "zip"},
	{mime: "application/x-tar", class: "archive", format: "tar"},
	{mime: "application/x-7z-compressed", class: "archive", format: "7z"},
	{mime: "application/x-rar-compressed", class: "archive", format: "rar"},
	gzipKind,
	otherKind,
}

// general are the findings of http.DetectContentType that many formats are covered by: an extension says more.
var general = []string{"application/octet-stream", "text/plain", "text/xml", "text/html", "application/zip", "application/ogg"}

// kindOf says what a file is: by its first bytes, and where these say little by the extension of its name.
func kindOf(name string, in []byte) kind {
	found, _, _ := strings.Cut(http.DetectContentType(in), ";")
	if found == "application/x-gzip" {
		found = gzipKind.mime
	}
	if slices.Contains(general, found) {
		ext := strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))
		if i := slices.IndexFunc(kinds, func(k kind) bool { return ext != "" && (k.format == ext || slices.Contains(k.also, ext)) }); i >= 0 {
			return kinds[i]
		}
	}
	if i := slices.IndexFunc(kinds, func(k kind) bool { return k.mime == found }); i >= 0 {
		return kinds[i]
	}
	return otherKind
}

const maxFileName = 200 // bytes

// fileName returns what of a name, or of the path of a URL, can stand in a path and mean nothing there: the last part, as far as it can be printed. It is
// "" if nothing is left.
func fileName(s string) string {
	s = s[strings.LastIndexAny(s, `/\`)+1:]
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if strings.Trim(s, ". ") == "" {
		return ""
	}
	return shortened(s)
}

// shortened cuts a name that is too long in front of its extension.
func shortened(s string) string {
	if len(s) <= maxFileName {
		return s
	}
	ext := path.Ext(s)
	if len(ext) > maxFileName/4 {
		ext = ""
	}
	return strings.ToValidUTF8(s[:maxFileName-len(ext)], "") + ext
}

// withGz returns the name of a gzipped file.
func withGz(name string) string { return name + "." + gzipKind.format }
