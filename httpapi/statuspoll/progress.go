package statuspoll

import (
	"math"
	"strconv"
	"strings"
)

// progressForms are how progress may be written. The first form of the value's kind whose bound is not exceeded counts.
var progressForms = []struct {
	text  bool    // a string, with or without a percent sign; else a number
	most  float64 // the largest value of this form
	whole float64 // what stands for 100 %
}{
	{text: false, most: 1, whole: 1},     // 0.45, and 1 is 100 %
	{text: false, most: 100, whole: 100}, // 45
	{text: true, most: 100, whole: 100},  // "45%", "45"
}

// readProgress returns a progress as a fraction. The text is a JSON value that is not null.
func readProgress(p []byte) (fraction *float64, err error) {
	number := string(p)
	text, isText := readString(p)
	if isText {
		number = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "%"))
	}
	bad := broken(RuleProgress, "progress", `must be a number or a text such as "45%%", from 0 to 100 %%`)
	if strings.Trim(number, "0123456789+-.eE") != "" { // of what ParseFloat takes, only decimal numbers
		return nil, bad
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v < 0 {
		return nil, bad
	}
	for _, f := range progressForms {
		if f.text == isText && v <= f.most {
			v /= f.whole
			return &v, nil
		}
	}
	return nil, bad
}

// percent writes a fraction from 0 to 1 in whole percents, rounded down, so that 100 % is said of nothing less.
func percent(fraction float64) string {
	const slack = 1e-9 // 0.29 * 100 is a little less than 29
	return strconv.Itoa(int(math.Floor(fraction*100+slack))) + "%"
}
