package mmaplog

func fileLimit() int64 { return usualFiles }
