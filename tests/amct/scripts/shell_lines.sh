amct_tensorflow calibration --model digits.pb --outputs "Identity:0" --input_shape "image:16,8,8,1" --data_type "float32" --data_dir bins --save_path shell/data --batch_num 2
amct_tensorflow calibration --model=digits.pb --outputs=Identity:0 --save_path=shell/script --evaluator=evaluator.py --calibration_config=quant.cfg
amct_tensorflow convert --model=trained.pb --outputs=output:0 --save_path=shell/trained
