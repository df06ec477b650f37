"""Sentences that the grammar did not write, with what they state."""

SENTENCES = {
    "68-year-old woman, 3 cm mass in the left kidney, portal venous phase, chest to pelvis": {
        "age": 68, "sex": "female", "site": "kidney", "side": "left", "tumour": True, "tumour_size_mm": 30,
        "phase": "portal venous", "coverage_first": "chest", "coverage_last": "pelvis",
    },
    "Abdominal CT, 70M, HCC segment 6, 4.5 x 3.2 cm, arterial phase": {
        "age": 70, "sex": "male", "site": "liver", "histology": "hepatocellular carcinoma", "tumour": True,
        "tumour_size_mm": 45, "phase": "arterial", "coverage_first": "upper abdomen", "coverage_last": "abdomen",
    },
    "CAP with contrast, 55yo F, known ccRCC right kidney s/p left nephrectomy": {
        "age": 55, "sex": "female", "site": "kidney", "side": "right", "absent": ["left kidney"],
        "histology": "clear cell renal cell carcinoma", "coverage_first": "chest", "coverage_last": "pelvis",
    },
    "Unenhanced CT thorax of a 45 year old male heavy smoker with a 12 mm nodule in the right upper lobe": {
        "age": 45, "sex": "male", "site": "lung", "subsite": "upper lobe", "side": "right", "tumour": True,
        "tumour_size_mm": 12, "phase": "non-contrast", "coverage_first": "chest", "coverage_last": "chest",
        "smoking": "current",
    },
    "Pt is a 61 y.o. female with hx of sigmoid colon adenocarcinoma, pT3 N1 M0 (stage IIIB). CT A/P, PV phase. "
    "No gallbladder.": {
        "age": 61, "sex": "female", "site": "colon", "subsite": "sigmoid colon", "histology": "adenocarcinoma",
        "stage": "IIIB", "t": "pT3", "n": "N1", "m": "M0", "phase": "portal venous",
        "coverage_first": "upper abdomen", "coverage_last": "pelvis", "absent": ["gallbladder"],
    },
    "CT of the abdomen without contrast. No evidence of renal mass.": {
        "tumour": False, "phase": "non-contrast", "coverage_first": "upper abdomen", "coverage_last": "abdomen",
    },
    "Gentleman aged 77, lung adenocarcinoma LLL 28mm, venous phase, 5 mm slices": {
        "age": 77, "sex": "male", "site": "lung", "subsite": "lower lobe", "side": "left", "tumour": True,
        "tumour_size_mm": 28, "histology": "adenocarcinoma", "phase": "portal venous",
    },
    "Female 59 years. Previous cholecystectomy and hysterectomy. Normal kidneys. CT chest-abdomen-pelvis.": {
        "age": 59, "sex": "female", "absent": ["gallbladder", "uterus"],
        "coverage_first": "chest", "coverage_last": "pelvis",
    },
    "67-year-old man with abdominal pain and a two centimetre lesion in the head of pancreas, upper abdomen": {
        "age": 67, "sex": "male", "site": "pancreas", "subsite": "head", "tumour": True, "tumour_size_mm": 20,
        "coverage_first": "upper abdomen", "coverage_last": "upper abdomen",
    },
    "Ex-smoker with 5 cm squamous cell carcinoma of the right lower lobe, stage 3A": {
        "site": "lung", "subsite": "lower lobe", "side": "right", "histology": "squamous cell carcinoma",
        "stage": "IIIA", "tumour": True, "tumour_size_mm": 50, "smoking": "former",
    },
    "liver lesion 2,5 cm, delayed phase": {
        "site": "liver", "tumour": True, "tumour_size_mm": 25, "phase": "delayed",
    },
    "Partial nephrectomy on the left in 2010, now 4 cm mass in the right kidney": {
        "site": "kidney", "side": "right", "tumour": True, "tumour_size_mm": 40,
    },
    "please make something nice": {},
}  # fmt: skip


DICTATED = {
    "58M w/ known HCC in segment VII, 3.8 cm, s/p TACE. Triphasic liver CT, late arterial phase.": {
        "age": 58, "sex": "male", "site": "liver", "histology": "hepatocellular carcinoma", "tumour": True,
        "tumour_size_mm": 38, "phase": "arterial",
    },
    "Seventy-two-year-old lady with a 15 millimetre spiculated nodule in the left lower lobe.": {
        "age": 72, "sex": "female", "site": "lung", "subsite": "lower lobe", "side": "left", "tumour": True,
        "tumour_size_mm": 15,
    },
    "72 year old gentleman, ex smoker of 40 pack years, RUL mass 6.2 cm with hilar nodes, T3N2M0.": {
        "age": 72, "sex": "male", "smoking": "former", "site": "lung", "subsite": "upper lobe", "side": "right",
        "tumour": True, "tumour_size_mm": 62, "t": "T3", "n": "N2", "m": "M0",
    },
    "No IV contrast given. CT KUB for flank pain. 4 mm stone in the left ureter.": {
        "phase": "non-contrast", "coverage_first": "upper abdomen", "coverage_last": "pelvis", "side": "left",
    },
    "Post-contrast CT abdo pelvis, portal phase. Ca sigmoid colon, T3 N1.": {
        "phase": "portal venous", "coverage_first": "upper abdomen", "coverage_last": "pelvis", "site": "colon",
        "subsite": "sigmoid colon", "t": "T3", "n": "N1",
    },
    "F 63y, pancreatic tail cystic lesion measuring 18 x 14 mm": {
        "age": 63, "sex": "female", "site": "pancreas", "subsite": "tail", "tumour": True, "tumour_size_mm": 18,
    },
    "Status post right hemicolectomy for caecal adenocarcinoma; now restaging CT chest abdomen pelvis.": {
        "site": "colon", "subsite": "cecum", "histology": "adenocarcinoma", "coverage_first": "chest",
        "coverage_last": "pelvis",
    },
    "The patient is a 49-year-old female non-smoker with an incidental 2 cm right adrenal nodule on unenhanced CT.": {
        "age": 49, "sex": "female", "smoking": "never", "site": "adrenal gland", "side": "right", "tumour": True,
        "tumour_size_mm": 20, "phase": "non-contrast",
    },
    "No focal liver lesion. Kidneys, spleen and pancreas unremarkable. CT of the abdomen, venous phase, 33-year-old "
    "man": {
        "tumour": False, "phase": "portal venous", "coverage_first": "upper abdomen", "coverage_last": "abdomen",
        "age": 33, "sex": "male",
    },
    "Lung ca left upper lobe with a 45 mm mass invading the mediastinum, cT4 cN2 cM0, stage IIIB.": {
        "site": "lung", "subsite": "upper lobe", "side": "left", "tumour": True, "tumour_size_mm": 45, "t": "cT4",
        "n": "cN2", "m": "cM0", "stage": "IIIB",
    },
    "Bladder tumour on the left lateral wall, 2.5cm, 81 yo M, urographic phase": {
        "site": "urinary bladder", "subsite": "lateral wall", "side": "left", "tumour": True, "tumour_size_mm": 25,
        "age": 81, "sex": "male", "phase": "delayed",
    },
    "Nephrectomy on the right in 2015. Remaining left kidney is normal. CT thorax/abdo/pelvis post contrast.": {
        "absent": ["right kidney"], "coverage_first": "chest", "coverage_last": "pelvis",
    },
    "Female in her sixties, mass in the stomach": {
        "sex": "female", "site": "stomach", "tumour": True,
    },
    "Man aged 66 with a mass in the upper pole of the left kidney measuring four point two centimetres": {
        "age": 66, "sex": "male", "site": "kidney", "subsite": "upper pole", "side": "left", "tumour": True,
        "tumour_size_mm": 42,
    },
    "Rectal cancer 5 cm from the anal verge, cT3N1, staging CT": {
        "site": "rectum", "t": "cT3", "n": "N1",
    },
    "CECT abdomen in a 45-year-old woman: 7 cm heterogeneously enhancing mass arising from the right kidney, renal "
    "vein thrombus": {
        "age": 45, "sex": "female", "site": "kidney", "side": "right", "tumour": True, "tumour_size_mm": 70,
        "coverage_first": "upper abdomen", "coverage_last": "abdomen",
    },
    "Metastatic colon adenocarcinoma with liver metastases, stage IVA": {
        "site": "colon", "histology": "adenocarcinoma", "stage": "IVA",
    },
    "Hx hysterectomy 1998 and cholecystectomy. 64F. Ovarian carcinoma, stage 3C.": {
        "absent": ["gallbladder", "uterus"], "age": 64, "sex": "female", "site": "ovary", "histology": "carcinoma",
        "stage": "IIIC",
    },
    "Oesophageal SCC, mid third, length 6 cm, 70 yrs, male, current smoker 20/day": {
        "site": "oesophagus", "histology": "squamous cell carcinoma", "tumour": True, "tumour_size_mm": 60,
        "age": 70, "sex": "male", "smoking": "current",
    },
    "Non contrast HRCT thorax. Seventy year old male. No nodules.": {
        "phase": "non-contrast", "age": 70, "sex": "male", "coverage_first": "chest", "coverage_last": "chest",
        "tumour": False,
    },
    "There is a hypodense lesion in segment IVa of the liver measuring approximately 3.1 by 2.2 by 2 cm, in the "
    "portal venous phase.": {
        "site": "liver", "tumour": True, "tumour_size_mm": 31, "phase": "portal venous",
    },
    "Gallbladder surgically absent. Uterus surgically absent. Spleen is normal.": {
        "absent": ["gallbladder", "uterus"],
    },
    "left lung cancer, adenoca, stage 1A3, 1.8cm part-solid nodule, LUL, never smoked, woman 61": {
        "site": "lung", "subsite": "upper lobe", "side": "left", "histology": "adenocarcinoma", "stage": "IA3",
        "tumour": True, "tumour_size_mm": 18, "smoking": "never", "sex": "female", "age": 61,
    },
    "CT from the dome of the liver to the symphysis, delayed phase at 5 minutes, TCC of the bladder": {
        "coverage_first": "upper abdomen", "coverage_last": "pelvis", "phase": "delayed", "site": "urinary bladder",
        "histology": "transitional cell carcinoma",
    },
    "Multiple pulmonary nodules, largest 9mm RLL; no pleural effusion; no lymphadenopathy; 59 y.o. woman": {
        "site": "lung", "subsite": "lower lobe", "side": "right", "tumour": True, "tumour_size_mm": 9, "age": 59,
        "sex": "female",
    },
    "Aortic aneurysm of 5.4 cm, no tumour seen": {
        "tumour": False,
    },
    "77 y F, CT TAP in portal venous phase; T2 N0 M0 carcinoma of the left lower lobe": {
        "age": 77, "sex": "female", "coverage_first": "chest", "coverage_last": "pelvis", "phase": "portal venous",
        "t": "T2", "n": "N0", "m": "M0", "histology": "carcinoma", "site": "lung", "subsite": "lower lobe",
        "side": "left",
    },
    "Solid lesion at the lower pole of the right kidney, 33mm, with a 6 cm simple cyst at the upper pole": {
        "site": "kidney", "subsite": "lower pole", "side": "right", "tumour": True, "tumour_size_mm": 33,
    },
    "Sixty-eight year old woman. Head of pancreas mass, two point seven centimetres. Previous hysterectomy. Scan "
    "from the diaphragm to the iliac crests, pancreatic phase.": {
        "age": 68, "sex": "female", "site": "pancreas", "subsite": "head", "tumour": True, "tumour_size_mm": 27,
        "absent": ["uterus"], "phase": "arterial", "coverage_first": "upper abdomen", "coverage_last": "abdomen",
    },
    "Enlarged lymph node of 22 mm in the abdomen; liver, spleen and kidneys appear normal": {
        "coverage_first": "upper abdomen", "coverage_last": "abdomen",
    },
    "Patient has had his spleen out. Current CT shows a 3cm left lower lobe lesion.": {
        "absent": ["spleen"], "sex": "male", "site": "lung", "subsite": "lower lobe", "side": "left", "tumour": True,
        "tumour_size_mm": 30,
    },
    "This is a fifty-three-year-old man with a six centimetre mass in the tail of the pancreas invading the spleen, "
    "portal venous phase imaging.": {
        "age": 53, "sex": "male", "site": "pancreas", "subsite": "tail", "tumour": True, "tumour_size_mm": 60,
        "phase": "portal venous",
    },
    "83F, T1a renal cell ca, left lower pole, 2.9 cm. Non-con CT abdomen.": {
        "age": 83, "sex": "female", "site": "kidney", "subsite": "lower pole", "side": "left", "tumour": True,
        "tumour_size_mm": 29, "t": "T1a", "phase": "non-contrast", "coverage_first": "upper abdomen",
        "coverage_last": "abdomen",
    },
    "Stage 2 rectal adenocarcinoma, post anterior resection; surveillance CT of chest, abdomen and pelvis with IV "
    "contrast in the portal venous phase.": {
        "site": "rectum", "histology": "adenocarcinoma", "stage": "II", "coverage_first": "chest",
        "coverage_last": "pelvis", "phase": "portal venous",
    },
    "No lung nodule or mass. 5 mm calcified granuloma in the right upper lobe.": {
        "tumour": False, "site": "lung", "subsite": "upper lobe", "side": "right",
    },
    "Woman, 47, gastric cancer of the antrum with wall thickening to 18 mm": {
        "sex": "female", "age": 47, "site": "stomach", "subsite": "antrum", "tumour": True, "tumour_size_mm": 18,
    },
    "Infiltrative HCC in the right lobe of liver, 11 x 9 x 8 cm, arterial hyperenhancement with washout on the "
    "delayed phase": {
        "site": "liver", "side": "right", "histology": "hepatocellular carcinoma", "tumour": True,
        "tumour_size_mm": 110, "phase": "delayed",
    },
    "Chest CT for lung cancer screening, 64 year old woman, current smoker, 6mm solid nodule RML": {
        "coverage_first": "chest", "coverage_last": "chest", "age": 64, "sex": "female", "smoking": "current",
        "site": "lung", "subsite": "middle lobe", "side": "right", "tumour": True, "tumour_size_mm": 6,
    },
    "Bulky uterine mass of ten centimetres, endometrial carcinoma FIGO stage III, CT of the pelvis": {
        "site": "uterus", "tumour": True, "tumour_size_mm": 100, "stage": "III", "coverage_first": "pelvis",
        "coverage_last": "pelvis", "histology": "carcinoma",
    },
    "He quit smoking; lobectomy for squamous carcinoma of the left upper lobe": {
        "sex": "male", "smoking": "former", "site": "lung", "subsite": "upper lobe", "side": "left",
        "histology": "squamous cell carcinoma",
    },
    "Both kidneys normal, no hydronephrosis. The liver has a 3.3-cm lesion.": {
        "site": "liver", "tumour": True, "tumour_size_mm": 33,
    },
    "portal venous CT from lung apices to pubic symphysis, 60 yo M": {
        "phase": "portal venous", "coverage_first": "chest", "coverage_last": "pelvis", "age": 60, "sex": "male",
    },
    "CT chest including adrenals; left hilar mass 5cm; small cell carcinoma": {
        "coverage_first": "chest", "coverage_last": "chest", "side": "left", "tumour": True, "tumour_size_mm": 50,
        "histology": "small cell carcinoma",
    },
    "Patient with a history of left radical nephrectomy for ccRCC, now recurrent 3 cm lesion in the nephrectomy bed": {
        "absent": ["left kidney"], "site": "kidney", "histology": "clear cell renal cell carcinoma", "tumour": True,
        "tumour_size_mm": 30,
    },
    "Triple phase pancreas protocol CT: 2.1 cm hypoattenuating lesion pancreatic head, CBD dilated to 14 mm, 71 "
    "year-old female": {
        "site": "pancreas", "subsite": "head", "tumour": True, "tumour_size_mm": 21, "age": 71, "sex": "female",
    },
    "Sigmoid ca, 4 cm, cT4a N2 M1, liver mets, 66/M": {
        "site": "colon", "subsite": "sigmoid colon", "tumour": True, "tumour_size_mm": 40, "t": "cT4a", "n": "N2",
        "m": "M1", "age": 66, "sex": "male",
    },
    "CT thorax w/o contrast shows no suspicious nodule": {
        "coverage_first": "chest", "coverage_last": "chest", "phase": "non-contrast", "tumour": False,
    },
    "Splenectomy 20 years ago after trauma; 52-year-old lady; left adrenal mass of 38mm": {
        "absent": ["spleen"], "age": 52, "sex": "female", "site": "adrenal gland", "side": "left", "tumour": True,
        "tumour_size_mm": 38,
    },
    "Oesophagectomy planned for adenocarcinoma of the distal oesophagus, uT3 N1; CT chest and abdomen; 58 M": {
        "site": "oesophagus", "histology": "adenocarcinoma", "n": "N1", "coverage_first": "chest",
        "coverage_last": "abdomen", "age": 58, "sex": "male",
    },
    "Ascending colon tumour, 48 mm, mucinous adenocarcinoma; 79-year-old; abdomen pelvis CT": {
        "site": "colon", "subsite": "ascending colon", "tumour": True, "tumour_size_mm": 48,
        "histology": "mucinous adenocarcinoma", "age": 79, "coverage_first": "upper abdomen",
        "coverage_last": "pelvis",
    },
    "Thirty-nine year old female with incidental hepatic lesion, 4.5 centimetres, segment 8, arterial phase.": {
        "age": 39, "sex": "female", "site": "liver", "tumour": True, "tumour_size_mm": 45, "phase": "arterial",
    },
    "CT abdomen/pelvis with contrast: 62 yo M, bladder mass 35 mm at the dome, current smoker.": {
        "age": 62, "sex": "male", "site": "urinary bladder", "subsite": "dome", "tumour": True, "tumour_size_mm": 35,
        "smoking": "current", "coverage_first": "upper abdomen", "coverage_last": "pelvis",
    },
    "Staging for caecal carcinoma, pT3 pN1b, stage IIIB, portal phase from diaphragm to symphysis.": {
        "site": "colon", "subsite": "cecum", "histology": "carcinoma", "t": "pT3", "n": "pN1b", "stage": "IIIB",
        "phase": "portal venous", "coverage_first": "upper abdomen", "coverage_last": "pelvis",
    },
    "Ms Example, 70, has a left upper lobe adenocarcinoma of 2.2 cm and a prior splenectomy.": {
        "site": "lung", "subsite": "upper lobe", "side": "left", "histology": "adenocarcinoma", "tumour": True,
        "tumour_size_mm": 22, "absent": ["spleen"],
    },
    "Elderly gentleman (88), right renal mass up to 9 cm, possibly RCC, unenhanced chest, abdomen and pelvis.": {
        "age": 88, "sex": "male", "site": "kidney", "side": "right", "tumour": True, "tumour_size_mm": 90,
        "histology": "renal cell carcinoma", "phase": "non-contrast", "coverage_first": "chest",
        "coverage_last": "pelvis",
    },
    "No mass in the pancreas. Pancreatic duct 3 mm. Post cholecystectomy. 56F. Upper abdomen, late arterial.": {
        "tumour": False, "site": "pancreas", "absent": ["gallbladder"], "age": 56, "sex": "female",
        "coverage_first": "upper abdomen", "coverage_last": "upper abdomen", "phase": "arterial",
    },
    "Lung: 31 mm tumour RLL. Kidney: 2 cm cyst. T2aN0M0. Never smoker. Male 67.": {
        "site": "lung", "subsite": "lower lobe", "side": "right", "tumour": True, "tumour_size_mm": 31, "t": "T2a",
        "n": "N0", "m": "M0", "smoking": "never", "sex": "male", "age": 67,
    },
    "Body and tail of pancreas replaced by tumour measuring 5.5 x 4 cm; 74-year-old lady": {
        "site": "pancreas", "subsite": "body and tail", "tumour": True, "tumour_size_mm": 55, "age": 74,
        "sex": "female",
    },
    "Follow-up CT thorax without contrast, 5 mm nodule in the lingula, 48-year-old woman": {
        "coverage_first": "chest", "coverage_last": "chest", "phase": "non-contrast", "site": "lung",
        "subsite": "lingula", "tumour": True, "tumour_size_mm": 5, "age": 48, "sex": "female",
    },
    "Chromophobe RCC on the left, 7.3cm, M 58, delayed phase": {
        "histology": "chromophobe renal cell carcinoma", "site": "kidney", "side": "left", "tumour": True,
        "tumour_size_mm": 73, "sex": "male", "age": 58, "phase": "delayed",
    },
    "Prior right nephrectomy for stone disease; 44-year-old; solitary left kidney with 2.4 cm lesion": {
        "absent": ["right kidney"], "age": 44, "site": "kidney", "side": "left", "tumour": True,
        "tumour_size_mm": 24,
    },
    "Large retroperitoneal sarcoma, 18 cm, 51 y/o male, abdomen and pelvis": {
        "histology": "retroperitoneal sarcoma", "tumour": True, "tumour_size_mm": 180, "age": 51, "sex": "male",
        "coverage_first": "upper abdomen", "coverage_last": "pelvis",
    },
    "Ovarian mass on the right 12 by 10 cm in a 33-year-old; pelvis CT": {
        "site": "ovary", "side": "right", "tumour": True, "tumour_size_mm": 120, "age": 33,
        "coverage_first": "pelvis", "coverage_last": "pelvis",
    },
    "History of hysterectomy. Oesophageal adenocarcinoma, distal third, 3 cm, ex smoker, sixty-six-year-old woman, "
    "chest and upper abdomen.": {
        "absent": ["uterus"], "site": "oesophagus", "histology": "adenocarcinoma", "tumour": True,
        "tumour_size_mm": 30, "smoking": "former", "age": 66, "sex": "female", "coverage_first": "chest",
        "coverage_last": "upper abdomen",
    },
    "rectosigmoid cancer, 6 cm long, T4b, 59/F, CT A/P, venous phase": {
        "site": "rectum", "subsite": "rectosigmoid junction", "tumour": True, "tumour_size_mm": 60, "t": "T4b",
        "age": 59, "sex": "female", "phase": "portal venous", "coverage_first": "upper abdomen",
        "coverage_last": "pelvis",
    },
}  # fmt: skip
"""With numbers in words, landmarks as limits, and things beside the tumour that have a size, a side or a place."""
