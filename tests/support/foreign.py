"""Unusual audio and video files written by other programs, and the expected result for each.

A recipe is a shell command in a folder with `a.mp4` (marked video of eight seconds, one key frame), `a.wav` and `b.wav`
(marked recordings of four seconds). It writes the row's file. `NEW` is the newest ffmpeg from a wheel; missing programs
are skipped by name. The table in docs/formats.md is generated from these rows.
"""

# ruff: noqa: E501 - one line per file reads as a table
import re
from dataclasses import dataclass

VIDEO_SECONDS, AUDIO_SECONDS = 8, 4
X264 = "-c:v libx264 -preset ultrafast"
X264B = "-c:v libx264 -preset veryfast -bf 3"
TS = f"{X264} -c:a aac -f mpegts"
FF = "ffmpeg -v error -y"
NEW = "$NEW_FFMPEG -v error -y"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One file: what it is, how it is made, and the expected result.

    Attributes:
        what: its description.
        file: its name.
        recipe: the shell command that writes it.
        picture: the seconds of `a.mp4` that it shows, in order; `None` for audio only.
        sound: the seconds heard, `a0` for the first one of `a.wav` (or of `a.mp4`, in a video), `b0` of `b.wav`.
        refused: a pattern of the expected error, if any.
        seconds: its duration, if different from that of its frames or audio.
        slack: the tolerance of the duration, in seconds.
        track: the audio track to select.
    """

    what: str
    file: str
    recipe: str
    picture: tuple[int, ...] | None = None
    sound: tuple[str, ...] = ()
    refused: str = ""
    seconds: float | None = None
    slack: float = 0.3
    track: str | int = "auto"

    @property
    def programs(self) -> set[str]:
        """The programs that create it."""
        return set(re.findall(r"(?:^|(?<=[|;&])|(?<=[|;&] ))(\$NEW_FFMPEG|[a-z]+)(?= -| \w)", self.recipe)) - {
            "cat",
            "head",
            "printf",
            "mv",
            "dd",
            "python",
            "do",
            "for",
        }


def film(
    what: str,
    file: str,
    recipe: str,
    *,
    first: int = 0,
    last: int = VIDEO_SECONDS,
    silent: bool = False,
    **more: object,
) -> Row:
    """Return a video that shows and plays a range of the seconds of `a.mp4`."""
    seen = tuple(range(first, last))
    return Row(
        what=what, file=file, recipe=recipe, picture=seen, sound=() if silent else tuple(f"a{n}" for n in seen), **more
    )  # type: ignore[arg-type]


def joined(what: str, file: str, recipe: str, *parts: range, **more: object) -> Row:
    """Return a video of several consecutive ranges."""
    seen = tuple(second for part in parts for second in part)
    return Row(what=what, file=file, recipe=recipe, picture=seen, sound=tuple(f"a{n}" for n in seen), **more)  # type: ignore[arg-type]


def voice(what: str, file: str, recipe: str, *sounds: str, **more: object) -> Row:
    """Return a recording of `a.wav`, or of `a.wav` and `b.wav`."""
    heard = tuple(f"{name}{n}" for name in sounds or ("a",) for n in range(AUDIO_SECONDS))
    return Row(what=what, file=file, recipe=recipe, sound=heard, **more)  # type: ignore[arg-type]


def broken(what: str, file: str, recipe: str, refused: str) -> Row:
    """Return a file that must be refused."""
    return Row(what=what, file=file, recipe=recipe, refused=refused)


_MISSING, _TWO = r"\d bytes, so [\d,]+ are missing", "two files are joined in it"
_CUT = "-vf trim={0},setpts=PTS-STARTPTS -af atrim={0},asetpts=PTS-STARTPTS -g 10"
SHARED = {
    "1.ts": f"{FF} -t 4 -i a.mp4 -g 10 {TS} 1.ts",
    "2.ts": f"{FF} -i a.mp4 {_CUT.format('4')} {TS} 2.ts",
    **{f"q{n}.ts": f"{FF} -i a.mp4 {_CUT.format(f'{n}:{n + 2}')} {TS} q{n}.ts" for n in (0, 2, 4, 6)},
}
"""Inputs shared by several rows: halves and quarters of `a.mp4`."""
_H = (range(4), range(4, 8))

_PIECES = f"{FF} -i a.mp4 {X264} -g 20 -c:a copy -f hls -hls_time 2 -hls_segment_type fmp4 -hls_segment_filename 'fs%d.m4s' l.m3u8; "
_FRAGMENTS = f"{FF} -i a.mp4 {X264} -g 20 -c:a copy -movflags frag_keyframe+empty_moov"

VIDEO = (
    film("MP4 of fragments (OBS, streaming)", "dash.mp4", f"{_FRAGMENTS}+default_base_moof dash.mp4"),
    broken("MP4 of fragments, cut (a recorder that crashed)", "crash.mp4", f"{_FRAGMENTS} 1.mp4; head -c 30000 1.mp4 > crash.mp4", r"describe a file of [\d,]+ bytes, so [\d,]+ are missing; .* or keep what is there"),
    broken("MP4 whose middle has not been downloaded", "hole.mp4", "cp a.mp4 hole.mp4; s=$(wc -c < a.mp4); dd if=/dev/zero of=hole.mp4 bs=1 seek=$((s / 3)) count=$((s / 3)) conv=notrunc status=none", r"s of its (video|audio) are zeros"),
    broken("MP4 whose download ended before its index", "cut.mp4", "head -c $(($(wc -c < a.mp4) / 2)) a.mp4 > cut.mp4", r"it has no index \(moov\)"),
    film("MP4 of fragments, the second piece of a stream", "piece.mp4", f"{_PIECES} cat init.mp4 fs1.m4s > piece.mp4", first=2, last=4),
    broken("Matroska whose clock begins before zero", "neg.mkv", f"{FF} -ss 2.33 -i a.mp4 -c copy -avoid_negative_ts disabled neg.mkv", "its clock begins at -2.33 s"),
    film("MPEG-TS, one key frame", "a.ts", f"{FF} -i a.mp4 -c copy a.ts"),
    film("MPEG-TS, a key frame every 2 s", "g.ts", f"{FF} -i a.mp4 -g 20 {TS} g.ts"),
    film("MPEG-TS of the newest ffmpeg", "n.ts", f"{NEW} -i a.mp4 -g 20 {TS} n.ts"),
    film("M2TS (Blu-ray, 192-byte packets)", "a.m2ts", f"{FF} -i a.mp4 {X264} -g 30 -c:a ac3 -f mpegts -mpegts_m2ts_mode 1 a.m2ts"),
    film("MTS (camcorder)", "a.MTS", f"{FF} -i a.mp4 {X264} -bf 2 -c:a ac3 -f mpegts -mpegts_m2ts_mode 1 a.MTS"),
    film("VOB (DVD, MPEG-2 with B frames)", "a.vob", f"{FF} -i a.mp4 -c:v mpeg2video -r 25 -bf 2 -c:a mp2 -f vob a.vob"),
    film("SVCD", "svcd.mpg", f"{FF} -i a.mp4 -c:v mpeg2video -r 25 -c:a mp2 -f svcd svcd.mpg"),
    film("MPEG-1 program stream", "a.mpg", f"{FF} -i a.mp4 -c:v mpeg1video -r 25 -c:a mp2 -f mpeg a.mpg"),
    film("HEVC in TS, open groups of pictures", "hevc.ts", f"{FF} -i a.mp4 -c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=20:open-gop=1:bframes=3 -c:a aac hevc.ts"),
    film("H.264 in TS, open groups of pictures", "open.ts", f"{FF} -i a.mp4 -c:v libx264 -x264-params open-gop=1:keyint=20:bframes=3 -c:a aac open.ts"),
    film("H.264 in TS that refreshes itself, no key frame but the first", "intra.ts", f"{FF} -i a.mp4 -c:v libx264 -x264-params intra-refresh=1:keyint=20:bframes=0 -c:a aac intra.ts"),
    film("H.264 in MP4 that refreshes itself", "intra.mp4", f"{FF} -i a.mp4 -c:v libx264 -x264-params intra-refresh=1:keyint=20:bframes=0 -c:a aac intra.mp4"),
    film("MPEG-2 in TS, open groups of pictures", "mpeg2.ts", f"{FF} -i a.mp4 -c:v mpeg2video -r 25 -bf 2 -g 40 -c:a mp2 mpeg2.ts"),
    film("Interlaced MPEG-2 in TS", "inter.ts", f"{FF} -i a.mp4 -vf scale=640:480 -b:v 8M -c:v mpeg2video -r 25 -flags +ildct+ilme -top 1 -c:a mp2 inter.ts"),
    film("TS whose clock wraps at 33 bits", "wrap.ts", f"{FF} -i a.mp4 -g 20 {TS} -output_ts_offset 95439 wrap.ts"),
    film("TS whose clock begins late", "late.ts", f"{FF} -i a.mp4 -g 20 {TS} -output_ts_offset 7000 late.ts"),
    joined("Two TS joined with cat", "two.ts", "cat 1.ts 2.ts > two.ts", *_H),
    joined("Four TS joined with cat (dashcam)", "four.ts", "cat q0.ts q2.ts q4.ts q6.ts > four.ts", *_H),
    joined("TS whose clock jumps ahead by two hours", "hours.ts", f"{FF} -i 2.ts -c copy -output_ts_offset 7200 3.ts; cat 1.ts 3.ts > hours.ts", *_H),
    joined("TS whose clock jumps ahead by 26 hours", "day.ts", f"{FF} -i 2.ts -c copy -output_ts_offset 93000 3.ts; cat 1.ts 3.ts > day.ts", *_H),
    joined("TS whose clock goes back by an hour", "back.ts", f"{FF} -i 1.ts -c copy -output_ts_offset 3600 3.ts; cat 3.ts 2.ts > back.ts", *_H),
    joined("Two VOB joined with cat", "two.vob", f"{FF} -i 1.ts -c:v mpeg2video -r 25 -c:a mp2 -f vob 1.vob; {FF} -i 2.ts -c:v mpeg2video -r 25 -c:a mp2 -f vob 2.vob; cat 1.vob 2.vob > two.vob", *_H),
    joined("Two M2TS joined with cat", "two.m2ts", f"{FF} -i 1.ts -c copy -mpegts_m2ts_mode 1 1.m2ts; {FF} -i 2.ts -c copy -mpegts_m2ts_mode 1 2.m2ts; cat 1.m2ts 2.m2ts > two.m2ts", *_H),
    broken("Two TS of different stream numbers joined", "pids.ts", f"{FF} -i 2.ts -c copy -mpegts_start_pid 0x300 3.ts; cat 1.ts 3.ts > pids.ts", _TWO),
    broken("Two TS of different video codecs joined", "two_codecs.ts", f"{FF} -i 2.ts -c:v mpeg2video -r 25 -c:a copy 3.ts; cat 1.ts 3.ts > two_codecs.ts", _TWO),
    broken("Two TS of different audio codecs joined", "two_voices.ts", f"{FF} -i 2.ts -c:v copy -c:a ac3 3.ts; cat 1.ts 3.ts > two_voices.ts", _TWO),
    joined("Two TS of different sizes joined", "sizes.ts", f"{FF} -i 2.ts -vf scale=256:192 {TS} 3.ts; cat 1.ts 3.ts > sizes.ts", *_H),
    joined("Two TS of different audio rates joined", "rates.ts", f"{FF} -i 2.ts -c:v copy -c:a aac -ar 48000 -ac 2 3.ts; cat 1.ts 3.ts > rates.ts", *_H),
    joined("TS joined with itself", "again.ts", "cat 1.ts 1.ts > again.ts", range(4), range(4)),
    film("TS with MP2 audio", "mp2.ts", f"{FF} -i a.mp4 {X264} -c:a mp2 -ar 48000 mp2.ts"),
    film("TS with E-AC-3 audio", "eac3.ts", f"{FF} -i a.mp4 {X264} -c:a eac3 -ar 48000 eac3.ts"),
    film("TS with Opus audio", "opus.ts", f"{FF} -i a.mp4 {X264} -c:a libopus opus.ts"),
    film("TS without audio", "silent.ts", f"{FF} -i a.mp4 -an {X264} -g 20 silent.ts", silent=True),
    film("TS with wide interleaving", "wide.ts", f"{FF} -i a.mp4 -g 20 {TS} -muxdelay 3 -muxpreload 2 wide.ts"),
    Row(what="TS whose first key frame is damaged", file="cut.ts", recipe=f"{FF} -i a.mp4 -g 10 {TS} w.ts; dd if=w.ts bs=1 skip=1000 of=cut.ts status=none", picture=tuple(range(1, 8)), sound=tuple(f"a{n}" for n in range(8)), seconds=8),
    film("FLV", "a.flv", f"{FF} -i a.mp4 {X264} -g 20 -c:a aac a.flv"),
    film("FLV with Sorenson video and MP3", "s.flv", f"{FF} -i a.mp4 -c:v flv -b:v 2M -r 25 -c:a libmp3lame -ar 44100 s.flv"),
    film("FLV of a live stream, no duration", "live.flv", f"{FF} -i a.mp4 {X264} -g 20 -c:a aac -flvflags no_duration_filesize -f flv - | cat > live.flv"),
    broken("Two FLV joined with cat", "two.flv", f"{FF} -i a.mp4 {X264} -c:a aac 1.flv; cat 1.flv 1.flv > two.flv", _TWO),
    film("Matroska without an index (piped)", "pipe.mkv", f"{FF} -i a.mp4 {X264} -g 20 -c:a libvorbis -f matroska - | cat > pipe.mkv"),
    film("Matroska of mkvmerge", "merge.mkv", "mkvmerge -q -o merge.mkv a.mp4"),
    film("Matroska of mkvmerge without cues", "nocues.mkv", "mkvmerge -q --cues -1:none --no-cues -o nocues.mkv a.mp4 || mkvmerge -q --cues 0:none --cues 1:none -o nocues.mkv a.mp4"),
    film("Matroska of mkvmerge, audio 0.5 s late", "sync.mkv", "mkvmerge -q --sync 1:500 -o sync.mkv a.mp4", seconds=8.5, slack=0.6),
    joined("Matroska of mkvmerge, two parts appended", "append.mkv", "mkvmerge -q -o 1.mkv 1.ts; mkvmerge -q -o 2.mkv 2.ts; mkvmerge -q -o append.mkv 1.mkv + 2.mkv", *_H),
    broken("Two Matroska joined with cat", "two.mkv", f"{FF} -i a.mp4 -c copy 1.mkv; cat 1.mkv 1.mkv > two.mkv", _TWO),
    broken("Half a Matroska", "half.mkv", f"{FF} -i a.mp4 -c copy 1.mkv; head -c 60000 1.mkv > half.mkv", _MISSING),
    film("WebM, VP8 and Vorbis, piped", "vp8.webm", f"{FF} -i a.mp4 -c:v libvpx -b:v 1M -cpu-used 8 -deadline realtime -c:a libvorbis -f webm - | cat > vp8.webm"),
    film("WebM, VP9 and Opus", "vp9.webm", f"{FF} -i a.mp4 -c:v libvpx-vp9 -b:v 1M -cpu-used 8 -deadline realtime -c:a libopus vp9.webm"),
    film("AVI, MPEG-4 and MP3", "a.avi", f"{FF} -i a.mp4 -c:v mpeg4 -q:v 3 -bf 2 -c:a libmp3lame a.avi"),
    film("AVI without its index", "noidx.avi", f"{FF} -i a.mp4 -c:v mpeg4 -q:v 3 -g 20 -c:a pcm_s16le 1.avi; sed 's/idx1/JUNK/' 1.avi > noidx.avi"),
    film("AVI, Motion JPEG and PCM", "mjpeg.avi", f"{FF} -i a.mp4 -c:v mjpeg -q:v 3 -c:a pcm_s16le mjpeg.avi"),
    film("AVI, Huffyuv", "huff.avi", f"{FF} -i a.mp4 -c:v huffyuv -c:a pcm_s16le huff.avi"),
    broken("Two AVI joined with cat", "two.avi", f"{FF} -i a.mp4 -c:v mpeg4 -c:a pcm_s16le 1.avi; cat 1.avi 1.avi > two.avi", _TWO),
    film("MP4 trimmed without re-encoding (edit list)", "trim.mp4", f"{FF} -ss 2 -i a.mp4 -t 4 -c copy trim.mp4", first=2, last=6),
    film("The same by the newest ffmpeg", "trimn.mp4", f"{NEW} -ss 2 -i a.mp4 -t 4 -c copy trimn.mp4", first=2, last=6),
    film("MP4 trimmed twice", "twice.mp4", f"{FF} -ss 1 -i a.mp4 -c copy 1.mp4; {FF} -ss 2 -i 1.mp4 -t 3 -c copy twice.mp4", first=3, last=6, slack=0.5),
    film("MOV trimmed without re-encoding", "trim.mov", f"{FF} -ss 3 -i a.mp4 -t 4 -c copy trim.mov", first=3, last=7),
    Row(what="MP4 whose video begins 2 s late (empty edit)", file="emptyv.mp4", recipe=f"{FF} -itsoffset 2 -i a.mp4 -i a.mp4 -map 0:v -map 1:a -c copy emptyv.mp4", picture=tuple(range(8)), sound=tuple(f"a{n}" for n in range(8)), seconds=10),
    Row(what="MP4 whose audio begins 2 s late", file="emptya.mp4", recipe=f"{FF} -i a.mp4 -itsoffset 2 -i a.mp4 -map 0:v -map 1:a -c copy emptya.mp4", picture=tuple(range(8)), sound=tuple(f"a{n}" for n in range(8)), seconds=10),
    film("MP4 in fragments", "frag.mp4", f"{FF} -i a.mp4 {X264} -g 20 -c:a aac -movflags frag_keyframe+empty_moov+default_base_moof frag.mp4"),
    film("MP4, open groups of pictures", "open.mp4", f"{FF} -i a.mp4 -c:v libx264 -x264-params open-gop=1:keyint=20:bframes=3 -c:a aac open.mp4"),
    film("MP4, HEVC", "hevc.mp4", f"{FF} -i a.mp4 -c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=20 -c:a aac hevc.mp4"),
    film("MP4, variable frame rate", "vfr.mp4", f"{FF} -i a.mp4 -vf mpdecimate=max=8 -vsync vfr {X264} -c:a aac vfr.mp4"),
    film("MOV, ProRes and PCM", "prores.mov", f"{FF} -i a.mp4 -c:v prores_ks -profile:v 0 -c:a pcm_s16le prores.mov"),
    film("MOV, QuickTime animation", "rle.mov", f"{FF} -i a.mp4 -c:v qtrle -c:a pcm_s16be rle.mov"),
    broken("Two MP4 joined with cat", "two.mp4", "cat a.mp4 a.mp4 > two.mp4", _TWO),
    broken("Half an MP4 whose index comes first", "half.mp4", f"{FF} -i a.mp4 -c copy -movflags +faststart 1.mp4; head -c 60000 1.mp4 > half.mp4", _MISSING),
    film("3GP, H.263", "a.3gp", f"{FF} -i a.mp4 -s 176x144 -r 25 -c:v h263 -b:v 1M -c:a aac -ar 16000 a.3gp"),
    film("WMV with MP3", "a.wmv", f"{FF} -i a.mp4 -c:v wmv2 -q:v 3 -c:a libmp3lame a.wmv"),
    film("Ogg, Theora and Vorbis", "a.ogv", f"{FF} -i a.mp4 -c:v libtheora -q:v 8 -g 20 -c:a libvorbis a.ogv"),
    film("Screen recording whose first audio track is silent", "obs.mkv", f"{FF} -i a.mp4 -f lavfi -t 8 -i anullsrc=r=16000:cl=mono -map 0:v -map 1:a -map 0:a -c:v copy -c:a aac obs.mkv"),
    film("The same as MP4, the silent track the default", "obs.mp4", f"{FF} -i a.mp4 -f lavfi -t 8 -i anullsrc=r=16000:cl=mono -map 0:v -map 1:a -map 0:a -c:v copy -c:a aac -disposition:a:0 default obs.mp4"),
    film("The same as TS", "obs.ts", f"{FF} -i a.mp4 -f lavfi -t 8 -i anullsrc=r=16000:cl=mono -map 0:v -map 1:a -map 0:a -c:v copy -c:a aac obs.ts"),
    film("Two audio tracks, the second one asked for", "dub.mkv", f"{FF} -i a.mp4 -i b.wav -map 0:v -map 1:a -map 0:a -c:v copy -c:a aac dub.mkv", track=1),
    film("Two audio tracks, the second one the default", "dub.mp4", f"{FF} -i a.mp4 -i b.wav -map 0:v -map 1:a -map 0:a -c:v copy -c:a aac -disposition:a:0 0 -disposition:a:1 default dub.mp4"),
    film("A silent track and another, mixed", "mix.mkv", f"{FF} -i a.mp4 -f lavfi -t 8 -i anullsrc=r=16000:cl=mono -map 0:v -map 1:a -map 0:a -c:v copy -c:a aac mix.mkv", track="mix"),
    film("MP4 in fragments, B frames, negative offsets", "negcts.mp4", f"{FF} -i a.mp4 {X264B} -g 20 -c:a copy -movflags frag_keyframe+empty_moov+negative_cts_offsets negcts.mp4"),
    film("MP4 in fragments, one index for all (CMAF, global sidx)", "cmaf.mp4", f"{FF} -i a.mp4 {X264B} -g 20 -c:a copy -movflags cmaf+global_sidx -f mp4 cmaf.mp4"),
    film("MP4 in fragments of 0.2 s (live)", "live.mp4", f"{FF} -i a.mp4 -c copy -frag_duration 200000 -movflags empty_moov+default_base_moof live.mp4"),
    film("MP4, AV1", "av1.mp4", f"{FF} -i a.mp4 -c:v libsvtav1 -preset 13 -c:a copy av1.mp4"),
    film("MP4, Opus", "opus.mp4", f"{FF} -i a.mp4 -c:v copy -c:a libopus opus.mp4"),
    film("MP4, FLAC", "flac.mp4", f"{FF} -i a.mp4 -c:v copy -c:a flac -strict -2 flac.mp4"),
    film("MP4, MP3", "mp3.mp4", f"{FF} -i a.mp4 -c:v copy -c:a libmp3lame mp3.mp4"),
    film("MP4 of the newest ffmpeg, PCM", "pcm.mp4", f"{NEW} -i a.mp4 -c:v copy -c:a pcm_s16le pcm.mp4"),
    film("MOV, PCM, trimmed without re-encoding", "pcmtrim.mov", f"{FF} -i a.mp4 -c:v mpeg4 -q:v 3 -g 20 -c:a pcm_s16le 1.mov; {FF} -ss 3 -i 1.mov -t 4 -c copy pcmtrim.mov", first=3, last=7),
    film("MOV, ProRes 4444 with transparency", "prores4.mov", f"{FF} -t 4 -i a.mp4 -pix_fmt yuva444p10le -c:v prores_ks -profile:v 4444 -c:a pcm_s24le prores4.mov", last=4),
    film("MOV whose audio begins 1.5 s late", "late.mov", f"{FF} -i a.mp4 -itsoffset 1.5 -i a.mp4 -map 0:v -map 1:a -c copy late.mov", seconds=9.5),
    film("3GP, H.263 and AMR", "amr.3gp", f"{NEW} -i a.mp4 -s 176x144 -r 25 -c:v h263 -b:v 1M -c:a libopencore_amrnb -ar 8000 -ac 1 -b:a 12.2k amr.3gp"),
    film("Matroska of blocks in groups, without lacing", "groups.mkv", "mkvmerge -q --engage no_simpleblocks --disable-lacing -o groups.mkv a.mp4"),
    film("Matroska with laced MP3", "laced.mkv", f"{FF} -i a.mp4 -c:a libmp3lame -ar 48000 -ac 1 1.mp3; mkvmerge -q -o laced.mkv -A a.mp4 1.mp3"),
    film("Matroska with holes that an editor left", "void.mkv", "mkvmerge -q --title \"$(head -c 4000 /dev/zero | tr '\\0' x)\" -o void.mkv a.mp4; mkvpropedit -q void.mkv --edit info --set title=x"),
    film("Matroska whose audio begins 2 s late", "latea.mkv", f"{FF} -i a.mp4 -itsoffset 2 -i a.mp4 -map 0:v -map 1:a -c copy latea.mkv", seconds=10),
    film("Matroska whose video begins 2 s late", "latev.mkv", f"{FF} -itsoffset 2 -i a.mp4 -i a.mp4 -map 0:v -map 1:a -c copy latev.mkv", seconds=10),
    film("Matroska, FFV1 and FLAC", "ffv1.mkv", f"{FF} -t 4 -i a.mp4 -c:v ffv1 -c:a flac ffv1.mkv", last=4),
    film("WebM, VP9 with transparency", "alpha.webm", f"{FF} -t 4 -i a.mp4 -pix_fmt yuva420p -c:v libvpx-vp9 -b:v 1M -cpu-used 8 -deadline realtime -auto-alt-ref 0 -c:a libopus alpha.webm", last=4),
    film("TS whose audio begins 2 s late", "latea.ts", f"{FF} -i a.mp4 -itsoffset 2 -i a.mp4 -map 0:v -map 1:a -c copy latea.ts", seconds=10),
    film("FLV whose audio begins 2 s late", "latea.flv", f"{FF} -i a.mp4 -itsoffset 2 -i a.mp4 -map 0:v -map 1:a -c copy latea.flv", seconds=10),
    film("FLV with an index of key frames", "keys.flv", f"{FF} -i a.mp4 {X264} -g 20 -c:a aac -flvflags add_keyframe_index keys.flv"),
    film("WMV whose audio begins 2 s late", "latea.wmv", f"{FF} -i a.mp4 -itsoffset 2 -i a.mp4 -map 0:v -map 1:a -c:v wmv2 -q:v 3 -c:a libmp3lame latea.wmv", seconds=10, slack=0.4),
    film("AVI of a camera, Motion JPEG and 8-bit PCM", "camera.avi", f"{FF} -i a.mp4 -c:v mjpeg -pix_fmt yuvj422p -q:v 3 -c:a pcm_u8 -ar 11025 -ac 1 camera.avi"),
    film("AVI whose indexes are spread (OpenDML)", "odml.avi", f"{FF} -i a.mp4 -c:v mpeg4 -q:v 3 -g 20 -c:a pcm_s16le -reserve_index_space 64 odml.avi"),
    film("Program stream whose clock jumps ahead by an hour", "jump.vob", f"{FF} -i 1.ts -c:v mpeg2video -r 25 -c:a mp2 -f vob 1.vob; {FF} -i 2.ts -c:v mpeg2video -r 25 -c:a mp2 -output_ts_offset 3600 -f vob 2.vob; cat 1.vob 2.vob > jump.vob"),
    Row(what="Screen recording that stands still for 2 s (variable frame rate)", file="still.mkv", recipe=f"{FF} -i a.mp4 -vf \"setpts='PTS+gte(T,4)*2/TB'\" -vsync vfr {X264} -c:a copy still.mkv", picture=tuple(range(8)), sound=tuple(f"a{n}" for n in range(8)), seconds=10),
    *(
        Row(what=f"One frame with eight seconds of audio, {name}", file=f"still.{end}", recipe=f"{FF} -i a.mp4 -an -frames:v 1 -c copy 1.mp4; {FF} -i 1.mp4 -i a.mp4 -map 0:v -map 1:a -c copy still.{end}", picture=(0,), sound=tuple(f"a{n}" for n in range(8)), seconds=8)
        for name, end in (("MP4", "mp4"), ("Matroska", "mka.mkv"), ("TS", "ts"), ("FLV", "flv"))
    ),
    film("Matroska whose first video track is a cover that is not marked as one", "cover.mkv", f"{FF} -f lavfi -i color=red:s=64x64:d=1 -frames:v 1 c.jpg; {FF} -i c.jpg -i a.mp4 -map 0 -map 1 -c copy cover.mkv"),
    broken("Half an MXF", "half.mxf", f"{FF} -i a.mp4 -c:v mpeg2video -r 25 -q:v 3 -c:a pcm_s16le -ar 48000 1.mxf; head -c 500000 1.mxf > half.mxf", "state 8.00 s of video, but it ends after"),
    Row(what="AVI whose audio lasts longer than its video", file="longa.avi", recipe=f"{FF} -t 4 -i a.mp4 -i a.mp4 -map 0:v -map 1:a -c:v mpeg4 -q:v 3 -c:a libmp3lame longa.avi", picture=tuple(range(4)), sound=tuple(f"a{n}" for n in range(8)), seconds=8),
    broken("MP4 cut in the index at its end", "index.mp4", f"{FF} -i a.mp4 -c copy 1.mp4; head -c -2000 1.mp4 > index.mp4", _MISSING),
    film("MXF, MPEG-2 and PCM", "a.mxf", f"{FF} -i a.mp4 -c:v mpeg2video -r 25 -q:v 3 -c:a pcm_s16le -ar 48000 a.mxf"),
    film("NUT, MPEG-4 and Vorbis", "a.nut", f"{FF} -i a.mp4 -c:v mpeg4 -q:v 3 -c:a libvorbis a.nut"),
    film("RealMedia", "a.rm", f"{FF} -i a.mp4 -s 176x144 -r 25 -c:v rv20 -b:v 2M -c:a ac3 -ar 44100 a.rm"),
    film("SWF", "a.swf", f"{FF} -i a.mp4 -r 25 -c:v flv -b:v 2M -c:a libmp3lame -ar 44100 a.swf"),
    film("WTV (Windows Media Center)", "a.wtv", f"{FF} -i a.mp4 -c:v mpeg2video -r 25 -q:v 3 -c:a mp2 a.wtv"),
    film("IVF, VP8", "a.ivf", f"{FF} -t 4 -i a.mp4 -an -c:v libvpx -b:v 1M -cpu-used 8 -deadline realtime a.ivf", last=4, silent=True),
    film("Bare H.264", "bare.h264", f"{FF} -i a.mp4 -an -c:v copy -bsf:v h264_mp4toannexb bare.h264", silent=True),
    film("Bare HEVC", "bare.hevc", f"{FF} -t 4 -i a.mp4 -an -c:v libx265 -preset ultrafast -x265-params log-level=none bare.hevc", last=4, silent=True),
    film("Bare Motion JPEG", "bare.mjpeg", f"{FF} -t 3 -i a.mp4 -an -r 25 -c:v mjpeg -q:v 3 bare.mjpeg", last=3, silent=True),
    film("Y4M", "a.y4m", f"{FF} -t 4 -i a.mp4 -an a.y4m", last=4, silent=True),
)  # fmt: skip

_STEREO = "-c:a pcm_s16le"
_EIGHT = "|".join(f"c{n}=0*c0" for n in range(7))

AUDIO = (
    voice("WAV, 24 bits", "s24.wav", f"{FF} -i a.wav -c:a pcm_s24le s24.wav"),
    voice("WAV, floating point", "f32.wav", f"{FF} -i a.wav -c:a pcm_f32le f32.wav"),
    voice("WAV, A-law", "alaw.wav", f"{FF} -i a.wav -c:a pcm_alaw alaw.wav"),
    voice("WAV, IMA ADPCM", "ima.wav", "sox a.wav -e ima-adpcm ima.wav"),
    voice("WAV, unsigned 8 bits, of sox", "u8.wav", "sox a.wav -e unsigned -b 8 u8.wav"),
    voice("WAV piped by ffmpeg (sizes 0xFFFFFFFF)", "pipe.wav", f"{FF} -i a.wav -f wav - | cat > pipe.wav"),
    voice("WAV piped by sox", "soxpipe.wav", "sox a.wav -t wav - | cat > soxpipe.wav"),
    voice("WAV whose header was never finished (sizes 0)", "zero.wav", "sox a.wav -t wav 1.wav; (head -c 40 1.wav; head -c 4 /dev/zero; tail -c +45 1.wav) > zero.wav"),
    voice("RF64", "rf64.wav", f"{FF} -i a.wav -rf64 always rf64.wav"),
    broken("Half a WAV", "half.wav", "head -c 70000 a.wav > half.wav", _MISSING),
    broken("Half an RF64", "halfrf.wav", f"{FF} -i a.wav -rf64 always 1.wav; head -c 70000 1.wav > halfrf.wav", _MISSING),
    broken("Two WAV joined with cat", "two.wav", "cat a.wav b.wav > two.wav", _TWO),
    broken("WAV that continues past the end its header states", "more.wav", "sox b.wav -t raw rest; cat a.wav rest > more.wav", "more bytes follow that are not part of it"),
    voice("AIFF of sox", "a.aiff", "sox a.wav a.aiff"),
    voice("AIFF-C", "a.aifc", "sox a.wav a.aifc"),
    broken("Half an AIFF", "half.aiff", "sox a.wav 1.aiff; head -c 70000 1.aiff > half.aiff", _MISSING),
    broken("MP3 followed by AAC", "aac_after.mp3", f"{FF} -i a.wav 1.mp3; {FF} -i b.wav 2.aac; cat 1.mp3 2.aac > aac_after.mp3", "are not mp3"),
    broken("MP3 followed by Ogg", "ogg_after.mp3", f"{FF} -i a.wav 1.mp3; {FF} -i b.wav -c:a libvorbis 2.ogg; cat 1.mp3 2.ogg > ogg_after.mp3", "are not mp3"),
    broken("AAC followed by MP2", "mp2_after.aac", f"{FF} -i a.wav 1.aac; {FF} -i b.wav 2.mp2; cat 1.aac 2.mp2 > mp2_after.aac", "are not aac"),
    broken("AC-3 followed by AAC", "aac_after.ac3", f"{FF} -i a.wav 1.ac3; {FF} -i b.wav 2.aac; cat 1.ac3 2.aac > aac_after.ac3", "are not ac3"),
    broken("Two AIFF joined with cat", "two.aiff", "sox a.wav 1.aiff; cat 1.aiff 1.aiff > two.aiff", _TWO),
    voice("CAF", "a.caf", f"{FF} -i a.wav -c:a pcm_s16be a.caf"),
    broken("Half a CAF", "half.caf", f"{FF} -i a.wav -c:a pcm_s16be 1.caf; head -c 70000 1.caf > half.caf", _MISSING),
    voice("FLAC of flac", "a.flac", "flac -s -f -o a.flac a.wav"),
    voice("FLAC piped, length unknown", "pipe.flac", "flac -s -c - < a.wav | cat > pipe.flac || flac -s -c --endian=little --sign=signed --channels=1 --bps=16 --sample-rate=16000 - < a.wav > pipe.flac"),
    broken("Half a FLAC", "half.flac", "flac -s -f -o 1.flac a.wav; head -c 20000 1.flac > half.flac", "state 4.00 s of audio, but it ends after"),
    broken("Two FLAC joined with cat", "two.flac", "flac -s -f -o 1.flac a.wav; flac -s -f -o 2.flac b.wav; cat 1.flac 2.flac > two.flac", _TWO),
    voice("MP3 of lame, constant bit rate", "cbr.mp3", "lame --quiet -b 64 a.wav cbr.mp3"),
    voice("MP3 of lame, variable bit rate", "vbr.mp3", "lame --quiet -V 5 a.wav vbr.mp3"),
    voice("MP3 without a header of its length", "plain.mp3", "lame --quiet -V 5 -t a.wav plain.mp3"),
    voice("MP3 with a large ID3 tag", "tag.mp3", f"lame --quiet -V 5 a.wav 1.mp3; {FF} -i 1.mp3 -c copy -id3v2_version 3 -metadata comment=\"$(head -c 9000 /dev/zero | tr '\\0' x)\" tag.mp3"),
    broken("MP3, freeformat", "free.mp3", "lame --quiet --freeformat -b 96 a.wav free.mp3", "damaged or truncated"),
    broken("Half an MP3 with Xing's header", "half.mp3", "lame --quiet -V 2 a.wav 1.mp3; head -c 12000 1.mp3 > half.mp3", _MISSING),
    voice("Two MP3 joined", "two.mp3", "lame --quiet -t -b 64 a.wav 1.mp3; lame --quiet -t -b 64 b.wav 2.mp3; cat 1.mp3 2.mp3 > two.mp3", "a", "b"),
    voice("Two MP3 with Xing's headers joined", "xing.mp3", "lame --quiet -V 5 a.wav 1.mp3; lame --quiet -V 5 b.wav 2.mp3; cat 1.mp3 2.mp3 > xing.mp3", "a", "b", slack=0.4),
    voice("MP3 whose rate and channels change", "mixed.mp3", f"{FF} -i a.wav -ar 44100 -ac 2 -write_xing 0 -id3v2_version 0 1.mp3; {FF} -i b.wav -ar 22050 -ac 1 -write_xing 0 -id3v2_version 0 2.mp3; cat 1.mp3 2.mp3 > mixed.mp3", "a", "b"),
    voice("AAC (ADTS)", "a.aac", f"{FF} -i a.wav a.aac"),
    voice("AAC whose rate and channels change", "mixed.aac", f"{FF} -i a.wav -ar 44100 -ac 2 1.aac; {FF} -i b.wav -ar 24000 -ac 1 2.aac; cat 1.aac 2.aac > mixed.aac", "a", "b"),
    voice("M4A", "a.m4a", f"{FF} -i a.wav a.m4a"),
    voice("M4A, ALAC", "alac.m4a", f"{FF} -i a.wav -c:a alac alac.m4a"),
    voice("M4A of the newest ffmpeg, in fragments", "frag.m4a", f"{NEW} -i a.wav -movflags frag_keyframe+empty_moov frag.m4a"),
    Row(what="M4A trimmed without re-encoding", file="trim.m4a", recipe=f"{FF} -i a.wav 1.m4a; {FF} -ss 1 -i 1.m4a -t 2 -c copy trim.m4a", sound=("a1", "a2"), slack=0.3, seconds=2),
    broken("Half an M4A", "half.m4a", f"{FF} -i a.wav -movflags +faststart 1.m4a; head -c 15000 1.m4a > half.m4a", _MISSING),
    voice("Opus of opusenc", "a.opus", "opusenc --quiet a.wav a.opus"),
    broken("Opus whose end has not been downloaded", "end.opus", "opusenc --quiet a.wav end.opus; s=$(wc -c < end.opus); dd if=/dev/zero of=end.opus bs=1 seek=$((s / 3)) count=$((s - s / 3)) conv=notrunc status=none", "bytes are zeros"),
    broken("Opus whose middle has not been downloaded", "mid.opus", "opusenc --quiet a.wav mid.opus; s=$(wc -c < mid.opus); dd if=/dev/zero of=mid.opus bs=1 seek=$((s / 3)) count=$((s / 3)) conv=notrunc status=none", "bytes are zeros"),
    voice("Two Opus voice notes joined (chained Ogg)", "two.opus", "opusenc --quiet a.wav 1.opus; opusenc --quiet b.wav 2.opus; cat 1.opus 2.opus > two.opus", "a", "b"),
    voice("Three Opus joined", "three.opus", "opusenc --quiet a.wav 1.opus; opusenc --quiet b.wav 2.opus; cat 1.opus 2.opus 1.opus > three.opus", "a", "b", "a"),
    voice("Vorbis", "a.ogg", f"{FF} -i a.wav -c:a libvorbis a.ogg"),
    voice("Two Vorbis joined", "two.ogg", f"{FF} -i a.wav -c:a libvorbis 1.ogg; {FF} -i b.wav -c:a libvorbis 2.ogg; cat 1.ogg 2.ogg > two.ogg", "a", "b"),
    broken("Two Vorbis of different rates joined", "rates.ogg", f"{FF} -i a.wav -ar 44100 -ac 2 -c:a libvorbis 1.ogg; {FF} -i b.wav -c:a libvorbis 2.ogg; cat 1.ogg 2.ogg > rates.ogg", "continues differently after its beginning"),
    voice("FLAC in Ogg", "a.oga", f"{FF} -i a.wav -c:a flac a.oga"),
    voice("Two FLAC in Ogg joined", "two.oga", f"{FF} -i a.wav -c:a flac 1.oga; {FF} -i b.wav -c:a flac 2.oga; cat 1.oga 2.oga > two.oga", "a", "b"),
    voice("Speex", "a.spx", f"{FF} -i a.wav -c:a libspeex a.spx"),
    voice("WMA", "a.wma", f"{FF} -i a.wav -c:a wmav2 a.wma", slack=0.4),
    voice("Matroska with audio alone", "a.mka", f"{FF} -i a.wav -c:a libopus a.mka"),
    voice("WebM with audio alone, piped by a browser", "rec.webm", f"{FF} -i a.wav -c:a libopus -f webm - | cat > rec.webm"),
    voice("Stereo of opposite phase", "phase.wav", f"{FF} -i a.wav -af 'pan=stereo|c0=c0|c1=-1*c0' -c:a aac phase.m4a; {FF} -i phase.m4a phase.wav"),
    voice("Stereo of opposite phase as AAC", "phase.m4a", f"{FF} -i a.wav -af 'pan=stereo|c0=c0|c1=-1*c0' -c:a aac phase.m4a"),
    voice("Stereo, the right channel alone", "right.m4a", f"{FF} -i a.wav -af 'pan=stereo|c0=0*c0|c1=c0' -c:a aac right.m4a"),
    voice("5.1, the centre alone", "centre.m4a", f"{FF} -i a.wav -af 'pan=5.1|c0=0*c0|c1=0*c0|c2=c0|c3=0*c0|c4=0*c0|c5=0*c0' -c:a aac -b:a 300k centre.m4a"),
    voice("7.1, a side alone", "side.flac", f"{FF} -i a.wav -af 'pan=7.1|{_EIGHT}|c7=c0' side.flac"),
    voice("Six channels of no known layout, one alone", "six.wav", "sox a.wav six.wav remix 0 0 0 0 1 0"),
    voice("Nine channels, one alone", "nine.wav", "sox a.wav nine.wav remix 0 0 0 0 0 0 0 0 1"),
    voice("Six channels, two of opposite phase", "six2.wav", "sox a.wav six2.wav remix 0 1 0 1i 0 0"),
    voice("Matroska with two audio tracks, the first silent", "two.mka", f"{FF} -f lavfi -t 4 -i anullsrc=r=16000:cl=mono -i a.wav -map 0 -map 1 -c:a flac two.mka"),
    voice("W64", "a.w64", f"{FF} -i a.wav a.w64"),
    voice("AU of sox", "a.au", "sox a.wav a.au"),
    voice("VOC of sox", "a.voc", "sox a.wav a.voc"),
    voice("SPHERE of sox", "a.sph", "sox a.wav a.sph"),
    voice("8SVX of sox", "a.8svx", "sox a.wav -b 8 -e signed a.8svx"),
    voice("GSM of sox, in WAV", "gsm.wav", "sox a.wav -r 8000 -e gsm gsm.wav"),
    voice("AMR", "a.amr", f"{NEW} -i a.wav -ar 8000 -ac 1 -c:a libopencore_amrnb -b:a 12.2k a.amr"),
    voice("AC-3", "a.ac3", f"{FF} -i a.wav -ar 48000 a.ac3"),
    voice("E-AC-3", "a.eac3", f"{FF} -i a.wav -ar 48000 a.eac3"),
    broken("Two AU joined with cat", "two.au", "sox a.wav 1.au; cat 1.au 1.au > two.au", _TWO),
    broken("Two VOC joined with cat", "two.voc", "sox a.wav 1.voc; cat 1.voc 1.voc > two.voc", _TWO),
    broken("Two TTA joined with cat", "two.tta", f"{FF} -i a.wav 1.tta; cat 1.tta 1.tta > two.tta", _TWO),
    broken("Two WMA joined with cat", "two.wma", f"{FF} -i a.wav -c:a wmav2 1.wma; cat 1.wma 1.wma > two.wma", _TWO),
    voice("DTS", "a.dts", f"{FF} -i a.wav -ar 48000 -ac 2 -c:a dca -strict -2 a.dts"),
    voice("MP2", "a.mp2", f"{FF} -i a.wav -c:a mp2 a.mp2"),
    voice("TTA", "a.tta", f"{FF} -i a.wav a.tta"),
    voice("WavPack", "a.wv", f"{FF} -i a.wav a.wv"),
    voice("AAC in LATM", "a.latm", f"{FF} -i a.wav -c:a aac -f latm a.latm"),
    voice("CAF with ALAC", "alac.caf", f"{FF} -i a.wav -c:a alac alac.caf"),
    voice("AIFF, little-endian", "sowt.aiff", f"{FF} -i a.wav -c:a pcm_s16le -f aiff sowt.aiff"),
    voice("M4B with chapters", "a.m4b", f"printf ';FFMETADATA1\\n[CHAPTER]\\nTIMEBASE=1/1\\nSTART=0\\nEND=2\\ntitle=x\\n' > c.txt; {FF} -i a.wav -i c.txt -map_metadata 1 -c:a aac -f ipod a.m4b"),
    voice("MP3 with a cover image", "cover.mp3", f"{FF} -i a.wav -f lavfi -i color=red:s=64x64:d=1 -map 0 -map 1 -frames:v 1 -c:v png -c:a libmp3lame -disposition:v attached_pic cover.mp3"),
    voice("FLAC of flac, in Ogg", "flac.oga", "flac -s -f --ogg -o flac.oga a.wav"),
    voice("FLAC with padding and a seek table", "seek.flac", "flac -s -f -P 65536 -S 10x -o seek.flac a.wav"),
    voice("Opus of opusenc, frames of 60 ms", "low.opus", "opusenc --quiet --framesize 60 --bitrate 16 a.wav low.opus"),
    Row(what="Opus trimmed without re-encoding", file="trim.opus", recipe=f"opusenc --quiet a.wav 1.opus; {FF} -ss 1 -i 1.opus -t 2 -c copy trim.opus", sound=("a1", "a2"), slack=0.3, seconds=2),
    Row(what="MP3 trimmed without re-encoding", file="trim.mp3", recipe=f"lame --quiet -b 64 a.wav 1.mp3; {FF} -ss 1 -i 1.mp3 -t 2 -c copy trim.mp3", sound=("a1", "a2"), slack=0.3, seconds=2),
    voice("Three MP3 of different rates joined", "three.mp3", "for r in 44100 24000 48000; do lame --quiet -t -b 64 --resample $r a.wav $r.mp3; done; cat 44100.mp3 24000.mp3 48000.mp3 > three.mp3", "a", "a", "a", slack=0.5),
    broken("Half a W64", "half.w64", f"{FF} -i a.wav 1.w64; head -c 70000 1.w64 > half.w64", _MISSING),
    broken("Half an AU", "half.au", "sox a.wav 1.au; head -c 70000 1.au > half.au", _MISSING),
    voice("Matroska with audio alone, 1 s late", "late.mka", f"{FF} -itsoffset 1 -i a.wav -c:a flac late.mka"),
)  # fmt: skip

ROWS = (*VIDEO, *AUDIO)


def table() -> str:
    """Return the rows as a Markdown table: the file, the programs that create it, the result."""
    lines = ["| File | Made with | Result |", "|---|---|---|"]
    for row in ROWS:
        programs = ", ".join(
            sorted(
                name.replace("$NEW_FFMPEG", "newest ffmpeg")
                for name in row.programs
                if name not in ("sed", "tail", "tr")
            )
        )
        lines.append(f"| {row.what} | {programs or 'cat'} | {_result(row)} |")
    return "\n".join(lines) + "\n"


def _result(row: Row) -> str:
    if row.refused == _MISSING:
        return "refused, with the number of missing bytes"
    if row.refused == _TWO:
        return "refused: two files in one, with both lengths"
    if row.refused.startswith("its clock"):
        return "refused, with the position in seconds and the command that repairs it"
    if row.refused:
        return "refused, with what is missing or superfluous"
    return (
        "complete"
        if row.picture is None
        else "video and audio complete, time ranges exact"
        if row.sound
        else "video complete, time ranges exact"
    )
